//! Key pairs of clients that sign instead of holding a secret.
//!
//! Invariant: the private key is made anew for each pair, by the `openssl` command.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::deployment::Folder;

/// A key pair.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The private key: PKCS #8, PEM.
    pub pem: String,
    /// What it signs with, as JOSE calls it.
    pub algorithm: &'static str,
    public: Value,
}

impl KeyPair {
    /// A P-256 key.
    #[must_use]
    pub fn es256() -> Self {
        let pem = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "");
        let der = openssl(&["pkey", "-pubout", "-outform", "DER"], &pem);
        // SubjectPublicKeyInfo ends with the point: 32 bytes each of x and y.
        let (rest, y) = der.split_at(der.len() - 32);
        let x = &rest[rest.len() - 32..];
        let public =
            json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
        Self { pem: text(pem), algorithm: "ES256", public }
    }

    /// A 2048-bit RSA key.
    #[must_use]
    pub fn rs256() -> Self {
        let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "");
        let modulus = text(openssl(&["rsa", "-noout", "-modulus"], &pem));
        let hex = modulus.trim().strip_prefix("Modulus=").expect("openssl prints the modulus");
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"));
        let n = URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<u8>>());
        Self { pem: text(pem), algorithm: "RS256", public: json!({"kty": "RSA", "n": n, "e": "AQAB"}) }
    }

    /// A client assertion (RFC 7523 section 2.2) with these claims, signed by this key, which is an RSA key.
    #[must_use]
    pub fn assertion(&self, claims: &Value) -> String {
        assert_eq!(self.algorithm, "RS256", "openssl writes other signatures than JOSE has them");
        let header = json!({"alg": self.algorithm, "typ": "JWT"});
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let folder = Folder::create();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, &self.pem).expect("the folder is writable");
        let signature = openssl(&["dgst", "-sha256", "-sign", &key.display().to_string()], &signed);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The public key in a JWK Set (RFC 7517 section 5).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let mut key = self.public.clone();
        key["use"] = json!("sig");
        key["alg"] = json!(self.algorithm);
        json!({"keys": [key]})
    }
}

fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).expect("openssl writes text")
}

fn openssl(arguments: &[&str], input: impl AsRef<[u8]>) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command that reads nothing closes the pipe.
    let _unread = stdin.write_all(input.as_ref());
    drop(stdin);
    let output = child.wait_with_output().expect("a started child can be waited for");
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}
