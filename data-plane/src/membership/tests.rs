use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::{identity::fingerprint_of, *};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const URL: &str = "https://127.0.0.1:1";

fn dir() -> PathBuf {
    std::env::temp_dir().join(format!("tollgate-membership-{}", uuid::Uuid::now_v7()))
}

/// An identity that is good for `left_s` more seconds of an hour.
fn identity(data_plane: DataPlaneId, left_s: i64) -> Identity {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().clone();
    let expires_at = chrono::Utc::now().timestamp() + left_s;
    Identity {
        data_plane,
        key: key.serialize_der().into(),
        authorities: vec![certificate.clone()],
        certificate,
        issued_at: expires_at - 3_600,
        expires_at,
    }
}

fn token(authority: Option<&[u8; 32]>) -> EnrollmentToken {
    let text = authority.map_or(SECRET.to_owned(), |authority| EnrollmentToken::write(SECRET, authority));
    EnrollmentToken::read(&text).unwrap()
}

#[tokio::test]
async fn an_identity_on_disk_needs_no_token_and_is_its_owners_alone() {
    let (dir, id) = (dir(), DataPlaneId::new());
    let kept = identity(id, 1_800);
    Safe::open(&dir).unwrap().save(&kept).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("identity.json"))), (0o700, 0o600));
    let (_membership, link) = Membership::open(&dir, id, URL, None).unwrap();
    assert!(link.channel().is_some());
    assert_eq!(link.certificate_expires_at(), Some(kept.expires_at));
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn an_identity_of_another_data_plane_or_installation_is_not_taken_up() {
    let (dir, id) = (dir(), DataPlaneId::new());
    let kept = identity(id, 1_800);
    Safe::open(&dir).unwrap().save(&kept).unwrap();
    let same = token(Some(&fingerprint_of(&kept.authorities[0])));
    let taken_up = |id, token| Membership::open(&dir, id, URL, Some(token)).unwrap().1.channel().is_some();
    assert!(taken_up(id, same));
    assert!(taken_up(id, token(None)), "which names no authority");
    assert!(!taken_up(id, token(Some(&[7; 32]))), "of another installation");
    assert!(!taken_up(DataPlaneId::new(), token(None)), "of another data plane");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn without_identity_and_token_or_with_an_address_that_speaks_no_tls_nothing_starts() {
    let (dir, id) = (dir(), DataPlaneId::new());
    let refused = |url, token| Membership::open(&dir, id, url, token).unwrap_err();
    assert!(matches!(refused(URL, None), MembershipError::NoToken));
    let plain = refused("http://127.0.0.1:7401", Some(token(None))).to_string();
    assert!(plain.contains("https://"), "{plain}");
    std::fs::write(dir.join("identity.json"), "{}").unwrap();
    assert!(matches!(refused(URL, None), MembershipError::Identity(IdentityError::Damaged(_))));
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn an_expired_identity_is_no_way_to_the_control_plane() {
    let (dir, id) = (dir(), DataPlaneId::new());
    Safe::open(&dir).unwrap().save(&identity(id, 0)).unwrap();
    let (_membership, link) = Membership::open(&dir, id, URL, None).unwrap();
    assert!(link.channel().is_none());
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_data_plane_that_hears_of_its_revocation_forgets_its_key_and_does_not_start_again() {
    let (dir, id) = (dir(), DataPlaneId::new());
    Safe::open(&dir).unwrap().save(&identity(id, 1_800)).unwrap();
    let (membership, link) = Membership::open(&dir, id, URL, None).unwrap();
    link.revoke();
    membership.keep(CancellationToken::new()).await;
    assert!(link.channel().is_none());
    assert!(!dir.join("identity.json").exists());
    let again = Membership::open(&dir, id, URL, Some(token(None)));
    assert!(matches!(again, Err(MembershipError::Revoked)));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_certificate_is_renewed_when_two_thirds_of_its_life_have_passed_or_a_little_before() {
    let fresh = identity(DataPlaneId::new(), 3_600);
    let left = |passed, jitter| fresh.until_renewal(fresh.issued_at + passed, jitter).as_secs();
    assert_eq!((left(0, 0), left(1_000, 0), left(2_400, 0), left(3_500, 0)), (2_400, 1_400, 0, 0));
    assert!((2_040..2_045).contains(&left(0, 255)), "{}", left(0, 255));
}
