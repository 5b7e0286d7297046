//! From what a tenant's spec says about registration to what it means, with every fault named where it is.

use std::collections::BTreeSet;

use url::Host;

use super::{ClientRegistration, DocumentHosts, PinnedDocument, PrivateUseSchemes, RegistrationPolicy, Rule};
use crate::{
    db::TenantTx,
    duration,
    error::Faults,
    grants::scopes,
    oauth::{
        client_document::{self, DocumentUrl},
        redirect_uri,
    },
    teams,
};

const AT: &str = "/spec/client_registration";
const HOSTS_MAX: usize = 64;
const SCHEMES_MAX: usize = 32;
const PINNED_MAX: usize = 32;
const RULES_MAX: usize = 32;
const SCOPES_MAX: usize = 200;
const CLIENTS_MAX: std::ops::RangeInclusive<u32> = 1..=100_000;
const UNCONFIRMED_TTL_S: std::ops::RangeInclusive<u64> = 3_600..=30 * 86_400;

impl ClientRegistration {
    /// What it means; whatever is wrong is in `faults`, and then the answer is of no use.
    pub(in crate::tenants) async fn interpret(
        &self,
        tx: &mut TenantTx,
        faults: &mut Faults,
    ) -> Result<RegistrationPolicy, sqlx::Error> {
        let defaults = RegistrationPolicy::default();
        let policy = RegistrationPolicy {
            registration: self.registration.unwrap_or_default(),
            client_documents: self.client_documents.unwrap_or_default(),
            document_hosts: hosts(self.document_hosts.as_ref(), faults),
            client_credentials_hosts: machine_hosts(self.client_credentials_hosts.as_deref(), faults),
            private_use_schemes: schemes(self.private_use_schemes.as_ref(), faults),
            default_team: self.default_team.clone().unwrap_or(defaults.default_team),
            clients_max: clients_max(self.clients_max.unwrap_or(defaults.clients_max), faults),
            unconfirmed_ttl_s: unconfirmed_ttl_s(self.unconfirmed_ttl(), faults),
            pinned_documents: self.pinned_documents.clone().unwrap_or_default(),
            rules: self.rules.clone().unwrap_or_default(),
        };
        check_pinned(&policy.pinned_documents, &policy.private_use_schemes, faults);
        if policy.rules.len() > RULES_MAX {
            faults.add(format!("{AT}/rules"), "too_many", format!("at most {RULES_MAX} rules"));
            return Ok(policy);
        }
        // The default team is made when it is needed, one that was chosen has to exist.
        if let Some(team) = &self.default_team {
            teams::look_up(tx, team, &format!("{AT}/default_team"), faults).await?;
        }
        for (index, rule) in policy.rules.iter().enumerate() {
            check_rule(rule, &format!("{AT}/rules/{index}"), tx, faults).await?;
        }
        Ok(policy)
    }
}

fn hosts(given: Option<&DocumentHosts>, faults: &mut Faults) -> DocumentHosts {
    let Some(given) = given else { return DocumentHosts::default() };
    for (list, hosts) in [("allow", &given.allow), ("deny", &given.deny)] {
        if hosts.len() > HOSTS_MAX {
            faults.add(format!("{AT}/document_hosts/{list}"), "too_many", format!("at most {HOSTS_MAX} hosts"));
        }
        for (index, host) in hosts.iter().enumerate() {
            check_host(host, &format!("{AT}/document_hosts/{list}/{index}"), faults);
        }
    }
    given.clone()
}

/// A public suffix is nobody's: everyone who has a name below it could act here.
fn machine_hosts(given: Option<&[String]>, faults: &mut Faults) -> Vec<String> {
    let hosts = given.unwrap_or_default();
    let pointer = format!("{AT}/client_credentials_hosts");
    if hosts.len() > HOSTS_MAX {
        faults.add(&pointer, "too_many", format!("at most {HOSTS_MAX} hosts"));
    }
    for (index, host) in hosts.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        check_host(host, &pointer, faults);
        if matches!(Host::parse(host), Ok(Host::Domain(name)) if redirect_uri::is_public_suffix(&name)) {
            faults.add(pointer, "host", "anyone can have a name below this host: name single sites");
        }
    }
    hosts.to_vec()
}

/// A host as URLs carry it: no scheme, port, wildcard or dot in front.
fn check_host(host: &str, pointer: &str, faults: &mut Faults) {
    let plain = Host::parse(host).is_ok_and(|parsed| parsed.to_string() == host);
    if !plain || host.contains('*') || host.starts_with('.') || host.ends_with('.') {
        faults.add(pointer, "host", "write a host in lower case, as in `example.com`");
    }
}

fn schemes(given: Option<&PrivateUseSchemes>, faults: &mut Faults) -> PrivateUseSchemes {
    let Some(given) = given else { return PrivateUseSchemes::default() };
    if let PrivateUseSchemes::Only(schemes) = given {
        let pointer = format!("{AT}/private_use_schemes");
        if schemes.len() > SCHEMES_MAX {
            faults.add(&pointer, "too_many", format!("at most {SCHEMES_MAX} schemes"));
        }
        for (index, scheme) in schemes.iter().enumerate() {
            if !is_scheme(scheme) {
                faults.add(
                    format!("{pointer}/{index}"),
                    "scheme",
                    "write a scheme in lower case without colon, as in `cursor`",
                );
            }
        }
    }
    given.clone()
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.');
    text.len() <= 64 && text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(rest)
}

fn clients_max(given: u32, faults: &mut Faults) -> u32 {
    if !CLIENTS_MAX.contains(&given) {
        faults.add(format!("{AT}/clients_max"), "out_of_range", "from 1 to 100000");
    }
    given
}

fn unconfirmed_ttl_s(text: &str, faults: &mut Faults) -> u32 {
    let pointer = format!("{AT}/unconfirmed_ttl");
    match duration::seconds(text) {
        Ok(ttl_s) if UNCONFIRMED_TTL_S.contains(&ttl_s) => return u32::try_from(ttl_s).unwrap_or(u32::MAX),
        Ok(_) => faults.add(pointer, "out_of_range", "from `1h` to `30d`"),
        Err(error) => faults.add(pointer, "duration", error.to_string()),
    }
    0
}

fn check_pinned(pinned: &[PinnedDocument], schemes: &PrivateUseSchemes, faults: &mut Faults) {
    if pinned.len() > PINNED_MAX {
        faults.add(format!("{AT}/pinned_documents"), "too_many", format!("at most {PINNED_MAX} documents"));
        return;
    }
    let schemes = schemes.meaning();
    let mut urls = BTreeSet::new();
    for (index, pinned) in pinned.iter().enumerate() {
        let pointer = format!("{AT}/pinned_documents/{index}");
        if !urls.insert(&pinned.url) {
            faults.add(format!("{pointer}/url"), "duplicate", "this document is pinned already");
        }
        match DocumentUrl::parse(&pinned.url) {
            Err(error) => faults.add(format!("{pointer}/url"), "url", error.to_string()),
            Ok(url) => {
                if let Err(fault) = client_document::read_document(&url, &pinned.document, &schemes) {
                    faults.add(format!("{pointer}/document"), "document", fault.to_string());
                }
            }
        }
    }
}

async fn check_rule(rule: &Rule, pointer: &str, tx: &mut TenantTx, faults: &mut Faults) -> Result<(), sqlx::Error> {
    if let Some(host) = &rule.r#match.host {
        check_host(host, &format!("{pointer}/match/host"), faults);
    }
    if let Some(team) = &rule.team {
        teams::look_up(tx, team, &format!("{pointer}/team"), faults).await?;
    }
    if rule.scopes.len() > SCOPES_MAX {
        faults.add(format!("{pointer}/scopes"), "too_many", format!("at most {SCOPES_MAX} scopes"));
        return Ok(());
    }
    scopes::read(&rule.scopes, &format!("{pointer}/scopes"), tx, faults).await?;
    Ok(())
}
