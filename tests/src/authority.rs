//! A certificate authority of the test's own, and a certificate of its for this machine.
//!
//! Invariant: nobody trusts it who was not told to.

use std::{path::PathBuf, process::Command};

use crate::deployment::Folder;

const LEAF: &str = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n";

/// The authority, with its files.
#[derive(Debug)]
pub struct Authority(Folder);

impl Authority {
    /// Makes one, with the `openssl` command.
    ///
    /// # Panics
    /// When the command is missing or fails.
    #[must_use]
    pub fn create() -> Self {
        let authority = Self(Folder::create());
        let path = |name: &str| authority.0.path().join(name).display().to_string();
        std::fs::write(path("leaf.ext"), LEAF).expect("the folder is writable");
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        openssl(
            &["req", "-x509", "-days", "2", "-subj", "/CN=Stories"],
            &new_key,
            &["-keyout", &path("ca.key"), "-out", &path("ca.pem")],
        );
        openssl(
            &["req", "-subj", "/CN=127.0.0.1"],
            &new_key,
            &["-keyout", &path("leaf.key"), "-out", &path("leaf.csr")],
        );
        openssl(
            &["x509", "-req", "-days", "2", "-in", &path("leaf.csr")],
            &["-CAcreateserial"],
            &[
                "-CA",
                &path("ca.pem"),
                "-CAkey",
                &path("ca.key"),
                "-extfile",
                &path("leaf.ext"),
                "-out",
                &path("leaf.pem"),
            ],
        );
        authority
    }

    /// What trusts it: PEM, to be named in `SSL_CERT_FILE`.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// Certificate and key of `127.0.0.1` and `localhost`, PEM.
    #[must_use]
    pub fn leaf(&self) -> (PathBuf, PathBuf) {
        (self.0.path().join("leaf.pem"), self.0.path().join("leaf.key"))
    }
}

fn openssl(first: &[&str], then: &[&str], last: &[&str]) {
    let arguments = [first, then, last].concat();
    let made = Command::new("openssl").args(&arguments).output().expect("openssl is installed");
    assert!(made.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}
