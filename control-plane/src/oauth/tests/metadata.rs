//! Authorization server metadata: what is advertised, by which tenant's policy.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::oauth::testing::{Bed, run};

const INSERTED: &str = "/.well-known/oauth-authorization-server/t/acme";
const APPENDED: &str = "/t/acme/.well-known/oauth-authorization-server";

async fn metadata(bed: &Bed) -> Value {
    let answer = bed.get(INSERTED).await;
    assert_eq!(answer.status, StatusCode::OK);
    answer.json()
}

#[tokio::test]
async fn metadata_says_all_that_is_true_and_nothing_else() {
    run(async |bed| {
        let algs = ["ES256", "RS256", "PS256", "EdDSA"];
        let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];
        let expected = json!({
            "issuer": "https://h/t/acme",
            "authorization_endpoint": "https://h/t/acme/oauth/authorize",
            "token_endpoint": "https://h/t/acme/oauth/token",
            "jwks_uri": "https://h/t/acme/oauth/jwks",
            "registration_endpoint": "https://h/t/acme/oauth/register",
            "revocation_endpoint": "https://h/t/acme/oauth/revoke",
            "introspection_endpoint": "https://h/t/acme/oauth/introspect",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algs,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algs,
            "introspection_endpoint_auth_methods_supported": &methods[..3],
            "introspection_endpoint_auth_signing_alg_values_supported": algs,
            "authorization_response_iss_parameter_supported": true,
            "client_id_metadata_document_supported": true,
            "protected_resources": ["https://gw/t/acme/mcp"],
        });
        assert_eq!(metadata(bed).await, expected);
    })
    .await;
}

#[tokio::test]
async fn no_member_is_empty_and_the_issuer_is_byte_for_byte_the_one_of_the_url() {
    run(async |bed| {
        let metadata = metadata(bed).await;
        for (name, value) in metadata.as_object().expect("an object") {
            assert!(value.as_array().is_none_or(|members| !members.is_empty()), "{name}");
            assert_ne!(value, &Value::Null, "{name}");
        }
        let issuer = metadata["issuer"].as_str().expect("a text");
        assert_eq!(INSERTED, format!("/.well-known/oauth-authorization-server{}", &issuer["https://h".len()..]));
    })
    .await;
}

#[tokio::test]
async fn each_way_in_is_advertised_while_the_policy_has_it_open() {
    run(async |bed| {
        for (policy, registration, documents) in [
            (json!({ "registration": "off" }), false, true),
            (json!({ "registration": "off", "client_documents": "off" }), false, false),
            (json!({ "registration": "initial_access_token", "client_documents": "off" }), true, false),
            (json!({ "registration": "approval" }), true, true),
        ] {
            let mut tx = bed.tx().await;
            sqlx::query("UPDATE tenants SET client_registration = $1 WHERE id = $2")
                .bind(&policy)
                .bind(bed.tenant.uuid())
                .execute(&mut *tx)
                .await
                .expect("a policy");
            tx.commit().await.expect("committed");
            // A control plane that has not read the policy yet.
            let metadata = metadata(&bed.beside_on_its_own_connections().await).await;
            assert_eq!(metadata.get("registration_endpoint").is_some(), registration, "{policy}");
            assert_eq!(metadata["client_id_metadata_document_supported"], documents, "{policy}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_changed_policy_shows_although_nobody_says_so() {
    run(async |bed| {
        assert!(metadata(bed).await.get("registration_endpoint").is_some());
        bed.change(r#"UPDATE tenants SET client_registration = '{"registration":"off"}'"#).await;
        let changed = async {
            while metadata(bed).await.get("registration_endpoint").is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), changed).await.expect("it shows");
    })
    .await;
}

#[tokio::test]
async fn metadata_needs_no_database_once_it_was_read() {
    run(async |bed| {
        let first = bed.get(INSERTED).await;
        bed.app.db.pool().close().await;
        let later = bed.get(APPENDED).await;
        assert_eq!((later.status, later.body), (first.status, first.body));
    })
    .await;
}
