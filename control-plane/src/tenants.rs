//! Tenants: the isolation boundary.
//!
//! Invariant: nobody makes or deletes a tenant through the API in this version; the first start makes `default`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tollgate_proto::{Egress, Name, TenantId};
use utoipa::ToSchema;

use crate::{
    app::App,
    audit,
    calendar::{TimeZone, UnknownTimeZone},
    caller::{Caller, Role},
    data_planes::{self, PolicyStatus},
    db::TenantTx,
    duration,
    error::{ApiError, Faults},
    oauth::AccessTokenFormat,
    resource::{Kind, Object, Row, Version, Which},
    revocations::{self, Outcome, Revoked},
    usage,
};

pub mod api;
pub mod client_registration;
mod sql;
pub mod staleness;
#[cfg(test)]
mod tests;

use client_registration::{ClientRegistration, RegistrationPolicy};
use staleness::Staleness;

const NETWORKS_MAX: usize = 64;
const TOKEN_TTL: Bounds = Bounds { seconds: 60..=86_400, text: "from `1m` to `24h`" };
const TOKEN_TTL_DEFAULT: &str = "15m";
const KEY_ROTATION: Bounds = Bounds { seconds: 7_200..=315_360_000, text: "from `2h` to `3650d`" };
const KEY_ROTATION_DEFAULT: &str = "90d";
const TIME_ZONE_DEFAULT: &str = "UTC";
const USAGE_RETENTION: Bounds = Bounds { seconds: DAY_S..=3_650 * DAY_S, text: "from `1d` to `3650d`" };
const USAGE_RETENTION_DEFAULT: &str = "90d";
const DAY_S: u64 = 86_400;

/// A tenant as the API shows it.
pub type Tenant = Object<TenantSpec>;

/// What a client says about a tenant.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSpec {
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// How long access tokens live, from `1m` to `24h`; `15m` unless told. Those that act for a user live an hour at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "15m")]
    pub access_token_ttl: Option<String>,
    /// What access tokens look like; `jwt` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_format: Option<AccessTokenFormat>,
    /// How long a key signs before the next one does, from `2h` to `3650d`; `90d` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "90d")]
    pub signing_key_rotation: Option<String>,
    /// Networks that servers may live in beside the public internet, in CIDR notation; none unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64, example = json!(["10.20.0.0/16"]))]
    pub egress_allow: Option<Vec<String>>,
    /// How agents may register themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_registration: Option<ClientRegistration>,
    /// Whether people may sign in with a password; `true` unless told. One-time links always work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_sign_in: Option<bool>,
    /// Whether a client assertion must be addressed to the issuer (draft-ietf-oauth-rfc7523bis), and not to the token
    /// endpoint's URL, as many clients do; `false` unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict_assertion_audience: Option<bool>,
    /// Whether an authorization code that is redeemed a second time ends its authorization however soon that is; `false`
    /// unless told: then a repetition within two seconds is refused and ends nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict_code_reuse: Option<bool>,
    /// Whether each use of a refresh token gives another to clients that sign with keys of their own too; `false` unless
    /// told: they keep the one they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_rotate_refresh_tokens: Option<bool>,
    /// What holds while data planes hear of no control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staleness: Option<Staleness>,
    /// Of its calendar days, by IANA name; `UTC` unless told. Reports and budgets add up days of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Berlin")]
    pub time_zone: Option<String>,
    /// How long usage records are kept, in days from `1d` to `3650d`; `90d` unless told. What they add up to is kept for
    /// ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "90d")]
    pub usage_retention: Option<String>,
}

/// What the server says about a tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TenantStatus {
    /// The issuer of its tokens.
    pub issuer: String,
    /// Where its agents get tokens.
    pub token_url: String,
    /// Its federated MCP endpoint.
    pub mcp_url: String,
    /// What applies where the spec is silent.
    pub effective: EffectiveTenant,
    /// How far its policy has come.
    #[schema(value_type = PolicyStatus)]
    pub policy: Value,
}

/// What applies where a tenant's spec is silent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EffectiveTenant {
    /// How long access tokens live.
    pub access_token_ttl: String,
    /// What access tokens look like.
    pub access_token_format: AccessTokenFormat,
    /// How long a key signs before the next one does.
    pub signing_key_rotation: String,
    /// Networks that servers may live in beside the public internet.
    pub egress_allow: Vec<String>,
    /// How agents may register themselves.
    pub client_registration: ClientRegistration,
    /// Whether people may sign in with a password.
    pub local_sign_in: bool,
    /// Whether a client assertion must be addressed to the issuer.
    pub strict_assertion_audience: bool,
    /// Whether an authorization code that is redeemed a second time ends its authorization however soon that is.
    pub strict_code_reuse: bool,
    /// Whether the refresh tokens of clients that sign with keys of their own rotate too.
    pub always_rotate_refresh_tokens: bool,
    /// What holds while data planes hear of no control plane.
    pub staleness: Staleness,
    /// Of its calendar days, by IANA name.
    pub time_zone: String,
    /// How long usage records are kept.
    pub usage_retention: String,
}

/// What a tenant's spec means.
#[derive(Debug)]
pub struct Meaning {
    display_name: String,
    access_token_ttl_s: i32,
    access_token_format: AccessTokenFormat,
    signing_key_rotation_s: i32,
    egress_allow: Vec<String>,
    client_registration: RegistrationPolicy,
    local_sign_in: bool,
    strict_assertion_audience: bool,
    strict_code_reuse: bool,
    always_rotate_refresh_tokens: bool,
    staleness: staleness::Meaning,
    time_zone: TimeZone,
    usage_retention_days: i32,
}

impl TenantSpec {
    fn time_zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or(TIME_ZONE_DEFAULT)
    }

    fn usage_retention(&self) -> &str {
        self.usage_retention.as_deref().unwrap_or(USAGE_RETENTION_DEFAULT)
    }

    fn local_sign_in(&self) -> bool {
        self.local_sign_in.unwrap_or(true)
    }

    fn access_token_ttl(&self) -> &str {
        self.access_token_ttl.as_deref().unwrap_or(TOKEN_TTL_DEFAULT)
    }

    fn signing_key_rotation(&self) -> &str {
        self.signing_key_rotation.as_deref().unwrap_or(KEY_ROTATION_DEFAULT)
    }
}

impl Kind for TenantSpec {
    const TITLE: &'static str = "Tenant";
    const NOUN: &'static str = "tenant";
    const COLLECTION: &'static str = "tenants";
    const WRITER: Role = Role::Admin;

    type Id = TenantId;
    type Status = TenantStatus;
    type Meaning = Meaning;

    /// The tenant of the transaction, whatever `which` says.
    async fn select(tx: &mut TenantTx, _: Which<'_>) -> Result<Vec<Row>, sqlx::Error> {
        let mut row = sql::select(tx).await?;
        row.facts = json!(data_planes::policy_status(tx).await?);
        Ok(vec![row])
    }

    async fn interpret(
        &self,
        _: &Name,
        _: Option<&Self>,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<Option<Meaning>, sqlx::Error> {
        let display_name = self.display_name.clone().unwrap_or_default();
        faults.check_text("/spec/display_name", &display_name);
        let egress_allow = networks(self.egress_allow.as_deref().unwrap_or_default(), faults);
        let client_registration = self.client_registration.clone().unwrap_or_default().interpret(tx, faults).await?;
        let local_sign_in = self.local_sign_in();
        let ttl_s = seconds("/spec/access_token_ttl", self.access_token_ttl(), &TOKEN_TTL, faults);
        let rotation_s = seconds("/spec/signing_key_rotation", self.signing_key_rotation(), &KEY_ROTATION, faults);
        let staleness = self.staleness.clone().unwrap_or_default().interpret(faults);
        let kept = time_zone(self.time_zone(), faults).zip(retention_days(self.usage_retention(), faults));
        let whole = ttl_s.zip(rotation_s).zip(staleness).zip(kept);
        Ok(whole.map(|(((access_token_ttl_s, signing_key_rotation_s), staleness), (time_zone, days))| Meaning {
            display_name,
            access_token_ttl_s,
            access_token_format: self.access_token_format.unwrap_or_default(),
            signing_key_rotation_s,
            egress_allow,
            client_registration,
            local_sign_in,
            strict_assertion_audience: self.strict_assertion_audience.unwrap_or_default(),
            strict_code_reuse: self.strict_code_reuse.unwrap_or_default(),
            always_rotate_refresh_tokens: self.always_rotate_refresh_tokens.unwrap_or_default(),
            staleness,
            time_zone,
            usage_retention_days: days,
        }))
    }

    async fn save(tx: &mut TenantTx, version: &Version<'_>, meaning: Meaning) -> Result<(), sqlx::Error> {
        if sql::time_zone(tx).await? != meaning.time_zone.to_string() {
            usage::terms::change(tx).await?;
        }
        sql::save(tx, version, &meaning).await
    }

    fn status(&self, row: &Row, app: &App, _: &Caller) -> Result<TenantStatus, ApiError> {
        let issuer = app.urls.issuer(&row.name);
        Ok(TenantStatus {
            token_url: format!("{issuer}/oauth/token"),
            mcp_url: app.urls.federated(&row.name),
            effective: EffectiveTenant {
                access_token_ttl: self.access_token_ttl().to_owned(),
                access_token_format: self.access_token_format.unwrap_or_default(),
                signing_key_rotation: self.signing_key_rotation().to_owned(),
                egress_allow: self.egress_allow.clone().unwrap_or_default(),
                client_registration: self.client_registration.clone().unwrap_or_default().effective(),
                local_sign_in: self.local_sign_in(),
                strict_assertion_audience: self.strict_assertion_audience.unwrap_or_default(),
                strict_code_reuse: self.strict_code_reuse.unwrap_or_default(),
                always_rotate_refresh_tokens: self.always_rotate_refresh_tokens.unwrap_or_default(),
                staleness: self.staleness.clone().unwrap_or_default().effective(),
                time_zone: self.time_zone().to_owned(),
                usage_retention: self.usage_retention().to_owned(),
            },
            policy: row.facts.clone(),
            issuer,
        })
    }
}

/// The tenant that the installation began with: it is looked after from there. `None` before the first start is done.
///
/// # Errors
/// When Postgres is away.
pub async fn first(connection: &mut PgConnection) -> Result<Option<TenantId>, sqlx::Error> {
    sql::first(connection).await
}

/// Whether this is what the transaction's tenant is called.
///
/// # Errors
/// When Postgres is away.
pub async fn is_named(tx: &mut TenantTx, name: &Name) -> Result<bool, sqlx::Error> {
    sql::is_named(tx, name.as_str()).await
}

/// Where what the tenant's clients and servers name may live, beside the public internet.
///
/// # Errors
/// When Postgres is away.
pub async fn egress(tx: &mut TenantTx) -> Result<Egress, sqlx::Error> {
    egress_of(&sql::egress_allow(tx).await?)
}

/// What the stored networks mean. One that no longer parses is a fault, never skipped.
pub(crate) fn egress_of(networks: &[String]) -> Result<Egress, sqlx::Error> {
    let networks: Result<_, _> = networks.iter().map(|network| network.parse()).collect();
    networks.map(Egress::new).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// How agents may register themselves at the transaction's tenant.
///
/// # Errors
/// When Postgres is away, or what is stored cannot be read.
pub async fn registration_policy(tx: &mut TenantTx) -> Result<RegistrationPolicy, sqlx::Error> {
    let stored = sql::client_registration(tx).await?;
    serde_json::from_value(stored).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Revokes every token of the tenant that was issued before now, and every approval that a user gave an agent.
///
/// # Errors
/// [`ApiError::Forbidden`]; or when Postgres is away.
pub async fn revoke_tokens(app: &App, caller: &Caller) -> Result<Outcome, ApiError> {
    caller.require(Role::Owner)?;
    let mut tx = app.db.tenant(caller.tenant).await?;
    let revision = revocations::revoke(&mut tx, Revoked::Tenant, "an owner revoked all tokens").await?;
    let event = audit::Event {
        actor: &caller.actor,
        action: "tenant.revoke",
        object_kind: TenantSpec::NOUN,
        object_id: &caller.tenant.to_string(),
        object_name: &caller.tenant_name,
        detail: json!({ "revocation": revision }),
    };
    audit::record(&mut tx, event).await?;
    Ok(revocations::commit(app, tx, revision).await?)
}

/// What a duration may be.
struct Bounds {
    seconds: std::ops::RangeInclusive<u64>,
    text: &'static str,
}

fn seconds(pointer: &str, text: &str, bounds: &Bounds, faults: &mut Faults) -> Option<i32> {
    match duration::seconds(text) {
        Ok(seconds) if bounds.seconds.contains(&seconds) => i32::try_from(seconds).ok(),
        Ok(_) => {
            faults.add(pointer, "out_of_range", bounds.text);
            None
        }
        Err(error) => {
            faults.add(pointer, "duration", error.to_string());
            None
        }
    }
}

fn time_zone(name: &str, faults: &mut Faults) -> Option<TimeZone> {
    name.parse().map_err(|error: UnknownTimeZone| faults.add("/spec/time_zone", "time_zone", error.to_string())).ok()
}

/// In whole days, because a day's records are removed at once.
fn retention_days(text: &str, faults: &mut Faults) -> Option<i32> {
    const POINTER: &str = "/spec/usage_retention";
    let seconds = seconds(POINTER, text, &USAGE_RETENTION, faults)?.unsigned_abs();
    if u64::from(seconds) % DAY_S != 0 {
        faults.add(POINTER, "duration", "write whole days, as in `90d`");
        return None;
    }
    i32::try_from(u64::from(seconds) / DAY_S).ok()
}

/// The networks in their normal form, without host bits.
fn networks(given: &[String], faults: &mut Faults) -> Vec<String> {
    if given.len() > NETWORKS_MAX {
        faults.add("/spec/egress_allow", "too_many", format!("at most {NETWORKS_MAX} networks"));
    }
    let mut networks = Vec::new();
    for (index, text) in given.iter().enumerate() {
        match text.parse::<IpNet>() {
            Ok(network) => networks.push(network.trunc().to_string()),
            Err(_) => {
                let pointer = format!("/spec/egress_allow/{index}");
                faults.add(pointer, "network", "write a network as in `10.20.0.0/16` or `fd00::/8`");
            }
        }
    }
    networks
}
