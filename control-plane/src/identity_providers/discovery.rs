//! What providers publish about themselves (OpenID Connect Discovery 1.0): where their endpoints are, and their keys.
//!
//! Invariant: every request goes through the guarded fetcher, which follows no redirect, and what was read is believed
//! for an hour. Who sends us tokens with unknown keys makes us read the keys again only so often.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use openidconnect::{
    AdditionalProviderMetadata, AsyncHttpClient, DiscoveryError, IssuerUrl, JsonWebKeySet, ProviderMetadata,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
        CoreSubjectIdentifierType,
    },
};
use serde::{Deserialize, Serialize};
use tollgate_proto::IdentityProviderId;

use super::{
    Provider,
    relying_party::{ProviderError, unusable},
};
use crate::{
    app::App,
    fetch::{FetchError, Limits},
};

const LIMITS: Limits = Limits { body_bytes_max: 256 * 1024, timeout: Duration::from_secs(5) };
/// How long a provider's metadata and keys are believed without asking again.
const FRESH: Duration = Duration::from_secs(3_600);
/// How long after a token with an unknown key, which anybody can send, the next one makes us read the keys again.
const PAUSE: Duration = Duration::from_secs(10);
const KNOWN_MAX: usize = 1_000;

/// What of a provider's metadata the library does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MoreMetadata {
    /// RFC 9207 section 3.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for MoreMetadata {}

/// What a provider publishes, with its keys.
pub(super) type Metadata = ProviderMetadata<
    MoreMetadata,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;
/// What was read from providers, in this process.
#[derive(Debug, Default)]
pub struct Discovered(Mutex<HashMap<IdentityProviderId, Known>>);

#[derive(Debug, Clone)]
struct Known {
    metadata: Arc<Metadata>,
    read_at: Instant,
    /// When a token that nobody had asked for last made us read the keys.
    prompted_at: Option<Instant>,
}

/// The provider's metadata and keys, as last read or read now.
pub(super) async fn discover(app: &App, provider: &Provider) -> Result<Arc<Metadata>, ProviderError> {
    if let Some(metadata) = app.identity_providers.fresh(provider.id) {
        return Ok(metadata);
    }
    let issuer = IssuerUrl::new(provider.spec.issuer.clone()).map_err(unusable)?;
    let metadata = Metadata::discover_async(issuer, &http(app, provider)).await.map_err(undiscovered)?;
    if !matches!(metadata.authorization_endpoint().url().scheme(), "https" | "http") {
        return Err(unusable("its authorization endpoint is no web address"));
    }
    Ok(app.identity_providers.remember(provider.id, metadata))
}

/// The metadata with keys that are read now.
pub(super) async fn with_new_keys(
    app: &App,
    provider: &Provider,
    metadata: &Metadata,
) -> Result<Arc<Metadata>, ProviderError> {
    let keys = JsonWebKeySet::fetch_async(metadata.jwks_uri(), &http(app, provider)).await.map_err(undiscovered)?;
    Ok(app.identity_providers.remember(provider.id, metadata.clone().set_jwks(keys)))
}

/// The guarded fetcher as the library wants its client.
pub(super) fn http(
    app: &App,
    provider: &Provider,
) -> impl for<'c> AsyncHttpClient<'c, Error = FetchError, Future: Send> + Send + Sync + use<> {
    let (fetcher, egress) = (app.fetcher.clone(), provider.egress.clone());
    move |request: Request<Vec<u8>>| {
        let (fetcher, egress) = (fetcher.clone(), egress.clone());
        async move {
            let answer: Response<Bytes> = fetcher.send(&egress, request.map(Bytes::from), LIMITS).await?;
            Ok::<_, FetchError>(answer.map(Vec::from))
        }
    }
}

fn undiscovered(error: DiscoveryError<FetchError>) -> ProviderError {
    match error {
        DiscoveryError::Request(error) => unusable(error),
        DiscoveryError::Parse(error) => unusable(format!("its metadata or keys: {error}")),
        error => unusable(error),
    }
}

impl Discovered {
    fn fresh(&self, id: IdentityProviderId) -> Option<Arc<Metadata>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).filter(|known| known.read_at.elapsed() < FRESH).map(|known| Arc::clone(&known.metadata))
    }

    fn remember(&self, id: IdentityProviderId, metadata: Metadata) -> Arc<Metadata> {
        let metadata = Arc::new(metadata);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, known| known.read_at.elapsed() < FRESH);
        }
        let prompted_at = known.get(&id).and_then(|known| known.prompted_at);
        known.insert(id, Known { metadata: Arc::clone(&metadata), read_at: Instant::now(), prompted_at });
        metadata
    }
    /// Whether a token that nobody had asked for may make us read the keys again; the next one not so soon.
    pub(super) fn may_prompt(&self, id: IdentityProviderId) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get_mut(&id) else { return true };
        let may = known.prompted_at.is_none_or(|prompted_at| prompted_at.elapsed() >= PAUSE);
        if may {
            known.prompted_at = Some(Instant::now());
        }
        may
    }
}
