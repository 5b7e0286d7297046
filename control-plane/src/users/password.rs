//! Passwords of people: argon2id (RFC 9106) at OWASP's parameters, computed beside the runtime and a few at a time.
//!
//! Invariant: verifying costs one hash whether or not the user exists, and never more memory than the number of
//! cores times 19 MiB, however many ask at once.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use aws_lc_rs::rand;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const QUEUE_MAX: usize = 64;
const LENGTH_MIN: usize = 12;
const LENGTH_MAX: usize = 256;
const DISTINCT_MIN: usize = 5;

/// Verified for users that do not exist or have no password, so that they take as long as the others. No password
/// is known to have this hash.
const DUMMY_PHC: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$dG9sbGdhdGUtbm9ib2R5IQ$ILmDWTdM9vLr2n6YlcDl6AnbKFuW1HQKZ7J3sVuTz0M";

/// Why a password is not accepted as a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Too short to resist guessing.
    #[error("Use at least {LENGTH_MIN} characters.")]
    Short,
    /// So long that it is no password.
    #[error("Use at most {LENGTH_MAX} characters.")]
    Long,
    /// `aaaaaaaaaaaa`.
    #[error("Use more than a few different characters.")]
    Monotonous,
    /// Holds the user's own e-mail address.
    #[error("Leave your e-mail address out of it.")]
    HoldsEmail,
}

/// Too many passwords are waiting to be hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins at once")]
pub struct Busy;

/// Computes hashes, as many at a time as there are cores.
#[derive(Debug)]
pub(super) struct Hashing {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Hashing {
    /// Sized for this machine.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { running: Arc::new(Semaphore::new(cores)), admitted: Arc::new(Semaphore::new(cores + QUEUE_MAX)) }
    }

    /// The PHC string of `password` under a fresh salt.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub(super) async fn hash(&self, password: Zeroizing<String>) -> Result<String, Busy> {
        self.run(move || {
            let mut salt = [0; SALT_BYTES];
            rand::fill(&mut salt).expect("the system's random generator works");
            argon2()
                .hash_password_with_salt(password.as_bytes(), &salt)
                .expect("the parameters and the salt's length are valid")
                .to_string()
        })
        .await
    }

    /// Whether `password` has the hash `phc`. Without one it takes as long and answers `false`.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full.
    pub(super) async fn verify(&self, password: Zeroizing<String>, phc: Option<String>) -> Result<bool, Busy> {
        self.run(move || {
            let stored = PasswordHash::new(phc.as_deref().unwrap_or(DUMMY_PHC));
            let equal = stored.is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok());
            equal && phc.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Busy)?;
        // The permit goes with the work: a caller that hangs up does not free the core that its hash still uses.
        let permit = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        let work = move || {
            let _permit = permit;
            work()
        };
        Ok(tokio::task::spawn_blocking(work).await.expect("hashing does not panic"))
    }
}

/// Whether `password` may become that of the user with this e-mail address.
///
/// # Errors
/// The first [`Weakness`] found.
pub(super) fn check_strength(password: &str, email: &str) -> Result<(), Weakness> {
    let length = password.chars().count();
    if length < LENGTH_MIN {
        return Err(Weakness::Short);
    }
    if length > LENGTH_MAX {
        return Err(Weakness::Long);
    }
    let mut distinct: Vec<char> = password.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < DISTINCT_MIN {
        return Err(Weakness::Monotonous);
    }
    if password.to_lowercase().contains(&email.to_lowercase()) {
        return Err(Weakness::HoldsEmail);
    }
    Ok(())
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the parameters are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let hashing = Hashing::new();
        let phc = hashing.hash(secret("correct horse battery")).await.expect("hashed");
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert_eq!(hashing.verify(secret("correct horse battery"), Some(phc.clone())).await, Ok(true));
        assert_eq!(hashing.verify(secret("correct horse batterz"), Some(phc)).await, Ok(false));
    }

    #[tokio::test]
    async fn nobody_is_verified_without_a_stored_hash() {
        let hashing = Hashing::new();
        assert_eq!(hashing.verify(secret(""), None).await, Ok(false));
        assert!(PasswordHash::new(DUMMY_PHC).is_ok(), "the dummy must cost a real hash");
    }

    #[tokio::test]
    async fn a_full_queue_says_so() {
        let hashing = Hashing::new();
        let all = u32::try_from(hashing.admitted.available_permits()).expect("few");
        let _held = Arc::clone(&hashing.admitted).try_acquire_many_owned(all).expect("free");
        assert_eq!(hashing.verify(secret("x"), None).await, Err(Busy));
    }

    #[test]
    fn weak_passwords_are_named() {
        let check = |password| check_strength(password, "ada@example.com");
        assert_eq!(check("elevenchars"), Err(Weakness::Short));
        assert_eq!(check_strength(&"x1y2z3".repeat(50), "ada@example.com"), Err(Weakness::Long));
        assert_eq!(check("ababababababab"), Err(Weakness::Monotonous));
        assert_eq!(check("ADA@example.com1"), Err(Weakness::HoldsEmail));
        assert_eq!(check("zwölf Zeichen"), Ok(()));
    }
}
