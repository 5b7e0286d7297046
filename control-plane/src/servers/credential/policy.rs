//! Credentials as data planes receive them: with their secrets.
//!
//! Invariant: what is opened here goes into a policy and nowhere else.

use std::collections::HashMap;

use tollgate_proto::{ServerId, TenantId, policy::v1 as wire};
use zeroize::Zeroizing;

use super::{ClientAuthMethod, OauthClientCredentials, ServerCredential, header_secret};
use crate::seal::{MasterKey, SealError};

/// A secret as it is stored.
pub(crate) struct StoredSecret {
    /// The server that it is for.
    pub(crate) server: ServerId,
    /// Its name among the server's secrets.
    pub(crate) name: String,
    /// Sealed for [`place`].
    pub(crate) value_sealed: Vec<u8>,
}

/// Why a credential cannot be told to data planes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The stored spec is damaged.
    #[error("the credential of server {0} cannot be read")]
    Spec(ServerId),
    /// A secret that the spec needs is not stored.
    #[error("a secret of server {0} is missing")]
    Missing(ServerId),
    /// Sealed with another master key, or damaged.
    #[error("a secret of server {0} cannot be opened: {1}")]
    Seal(ServerId, SealError),
}

/// What a sealed secret is bound to.
pub(in crate::servers) fn place(tenant: TenantId, server: ServerId, name: &str) -> String {
    format!("{tenant}|server_secrets|value_sealed|{server}|{name}")
}

/// The credential of one server, its secrets opened. `spec` is the credential as the server's spec has it.
pub(crate) fn compile(
    master_key: &MasterKey,
    tenant: TenantId,
    server: ServerId,
    spec: Option<serde_json::Value>,
    stored: &[StoredSecret],
) -> Result<Option<wire::server::Credential>, CredentialError> {
    let Some(spec) = spec.filter(|spec| !spec.is_null()) else { return Ok(None) };
    let credential: ServerCredential = serde_json::from_value(spec).map_err(|_| CredentialError::Spec(server))?;
    let sealed: HashMap<&str, &[u8]> = stored
        .iter()
        .filter(|secret| secret.server == server)
        .map(|secret| (secret.name.as_str(), secret.value_sealed.as_slice()))
        .collect();
    let open = |name: &str| -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        let sealed = sealed.get(name).ok_or(CredentialError::Missing(server))?;
        master_key.open(&place(tenant, server, name), sealed).map_err(|error| CredentialError::Seal(server, error))
    };
    Ok(match credential {
        ServerCredential::None(_) => None,
        ServerCredential::Header(credential) => {
            let header = |name: &str| {
                let value = String::from_utf8(open(&header_secret(name))?.to_vec());
                let value = value.map_err(|_| CredentialError::Seal(server, SealError::Damaged))?;
                Ok(wire::StaticHeader { name: name.to_ascii_lowercase(), value })
            };
            let headers = credential.names().map(header).collect::<Result<_, _>>()?;
            Some(wire::server::Credential::StaticHeaders(wire::StaticHeaders { headers }))
        }
        ServerCredential::OauthClientCredentials(credential) => {
            let secret = open(credential.secret_name())?;
            Some(wire::server::Credential::OauthClientCredentials(client(credential, &secret)))
        }
    })
}

fn client(credential: OauthClientCredentials, secret: &[u8]) -> wire::OauthClientCredentials {
    let authentication = match credential.effective_auth_method() {
        ClientAuthMethod::ClientSecretBasic => wire::ClientAuthentication::ClientSecretBasic,
        ClientAuthMethod::ClientSecretPost => wire::ClientAuthentication::ClientSecretPost,
        ClientAuthMethod::PrivateKeyJwt => wire::ClientAuthentication::PrivateKeyJwt,
    };
    wire::OauthClientCredentials {
        issuer: credential.issuer.unwrap_or_default(),
        token_endpoint: credential.token_endpoint.unwrap_or_default(),
        client_id: credential.client_id,
        authentication: authentication.into(),
        secret: secret.to_vec(),
        key_id: credential.key_id.unwrap_or_default(),
        scopes: credential.scopes.unwrap_or_default(),
        resource: credential.resource.unwrap_or_default(),
    }
}
