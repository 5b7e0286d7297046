use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P384_SHA384, SignatureAlgorithm};
use rustls::{
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{ServerName, UnixTime},
    server::WebPkiClientVerifier,
};

use super::*;
use crate::testing::{Bench, run};

const LIFE: Duration = Duration::from_secs(60);

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn request(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
    let key = KeyPair::generate_for(algorithm).unwrap();
    CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
}

#[tokio::test]
async fn control_planes_that_meet_make_one_authority() {
    run(async |bench: &Bench| {
        let app = |bench: &Bench| crate::testing::app(bench.app.db.clone(), bench.app.master_key.clone());
        let mut loading = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let app = app(bench);
            loading.spawn(async move { of(&app).await.unwrap().fingerprint() });
        }
        let mut made = loading.join_all().await;
        made.dedup();
        assert_eq!(made.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_private_key_lies_sealed_and_opens_with_the_master_key_alone() {
    run(async |bench: &Bench| {
        let fingerprint = of(&bench.app).await.unwrap().fingerprint();
        let mut tx = bench.app.db.platform().await.unwrap();
        let stored = sql::all(&mut tx).await.unwrap();
        assert_eq!(stored.len(), 1);
        let opened = Authority::open(&stored, &bench.app.master_key).unwrap();
        assert_eq!(opened.fingerprint(), fingerprint);
        let key = opened.issuer.key().serialize_der();
        assert!(!stored[0].private_key_sealed.windows(32).any(|window| key.windows(32).any(|part| part == window)));
        let other = Authority::open(&stored, &MasterKey::generate().unwrap());
        assert!(matches!(other, Err(AuthorityError::Seal(SealError::OtherKey))));
    })
    .await;
}

#[tokio::test]
async fn a_data_planes_certificate_does_not_make_it_a_control_plane_nor_the_other_way_round() {
    run(async |bench: &Bench| {
        let authority = of(&bench.app).await.unwrap();
        let roots = Arc::new(authority.roots().unwrap());
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build().unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider()).build().unwrap();
        let name = ServerName::try_from(CONTROL_PLANE_NAME).unwrap();
        let now = UnixTime::now();
        let request = SigningRequest::read(&request(&PKCS_ECDSA_P256_SHA256)).unwrap();
        let issued = authority.certify(DataPlaneId::new(), &request, Utc::now(), LIFE).unwrap();
        let data_plane = CertificateDer::from(issued.certificate);
        let (control_plane, _) = authority.certify_control_plane(Utc::now()).unwrap();
        let control_plane = &control_plane.cert[0];
        assert!(clients.verify_client_cert(&data_plane, &[], now).is_ok());
        assert!(servers.verify_server_cert(&data_plane, &[], &name, &[], now).is_err());
        assert!(servers.verify_server_cert(control_plane, &[], &name, &[], now).is_ok());
        assert!(clients.verify_client_cert(control_plane, &[], now).is_err());
        let later = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + 61));
        assert!(clients.verify_client_cert(&data_plane, &[], later).is_err(), "it has expired");
    })
    .await;
}

#[test]
fn a_signing_request_that_is_damaged_or_of_another_kind_is_refused() {
    let whole = request(&PKCS_ECDSA_P256_SHA256);
    assert!(SigningRequest::read(&whole).is_ok());
    for index in 0..whole.len() {
        assert_eq!(SigningRequest::read(&whole[..index]).unwrap_err(), RequestError::Malformed, "cut at {index}");
    }
    let mut forged = whole.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(SigningRequest::read(&forged).unwrap_err(), RequestError::Malformed);
    assert_eq!(SigningRequest::read(&[0; REQUEST_BYTES_MAX + 1]).unwrap_err(), RequestError::Malformed);
    let other = SigningRequest::read(&request(&PKCS_ECDSA_P384_SHA384)).unwrap_err();
    assert_eq!(other, RequestError::Algorithm);
}
