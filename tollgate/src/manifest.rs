//! Declarative files: YAML documents of `apiVersion: tollgate/v1`.
//!
//! Invariant: a file that was read is fit to be sent as a whole: kinds, names, scopes and the fields of every spec
//! are known. What depends on what is stored (references, permissions) is the control plane's to judge.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;
use tollgate_proto::Name;

use crate::failure::Failure;

pub(crate) mod secret;
mod spec;

const API_VERSION: &str = "tollgate/v1";

/// Kinds of objects, in the order in which they are applied: what is referred to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Team,
    IdentityProvider,
    Server,
    Toolset,
    Agent,
    Grant,
    Limit,
    PriceBook,
    Budget,
    Webhook,
}

impl Kind {
    /// All of them, in that order.
    pub(crate) const ALL: [Self; 10] = [
        Self::Team,
        Self::IdentityProvider,
        Self::Server,
        Self::Toolset,
        Self::Agent,
        Self::Grant,
        Self::Limit,
        Self::PriceBook,
        Self::Budget,
        Self::Webhook,
    ];

    /// As files write it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Team => "Team",
            Self::IdentityProvider => "IdentityProvider",
            Self::Server => "Server",
            Self::Toolset => "Toolset",
            Self::Agent => "Agent",
            Self::Grant => "Grant",
            Self::Limit => "Limit",
            Self::PriceBook => "PriceBook",
            Self::Budget => "Budget",
            Self::Webhook => "Webhook",
        }
    }

    /// As people write it in `kind/name`.
    pub(crate) const fn singular(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::IdentityProvider => "identity-provider",
            Self::Server => "server",
            Self::Toolset => "toolset",
            Self::Agent => "agent",
            Self::Grant => "grant",
            Self::Limit => "limit",
            Self::PriceBook => "price-book",
            Self::Budget => "budget",
            Self::Webhook => "webhook",
        }
    }

    /// As paths of the REST API write it.
    pub(crate) fn collection(self) -> String {
        format!("{}s", self.singular())
    }
}

impl FromStr for Kind {
    type Err = String;

    /// Takes singular and plural in any case, as paths and as files write them.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let fits = |kind: &&Self| {
            let (one, many) = (kind.singular(), kind.collection());
            lower == one || lower == many || lower == one.replace('-', "") || lower == many.replace('-', "")
        };
        Self::ALL.iter().find(fits).copied().ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.collection()).collect();
            format!("`{text}` is no kind: use {}", known.join(", "))
        })
    }
}

/// One object of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    /// The tenant that the document names, if any.
    pub(crate) tenant: Option<Name>,
    pub(crate) name: Name,
    pub(crate) labels: BTreeMap<String, String>,
    /// As it was written.
    pub(crate) spec: Value,
}

impl Object {
    /// `kind/name`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.kind.singular(), self.name)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    api_version: Spanned<String>,
    kind: Spanned<String>,
    metadata: Metadata,
    spec: Option<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    tenant: Option<Name>,
    name: Name,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reads every document of a file, in the order of application; `origin` names the file in failures.
pub(crate) fn read(text: &str, origin: &str) -> Result<Vec<Object>, Failure> {
    let documents: Vec<Document> = serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or_else(String::new, |location| format!(":{}", location.line()));
        Failure::new(format!("{origin}{line} is not valid")).why(error.to_string().trim_end().to_owned())
    })?;
    let mut mistakes = Vec::new();
    let mut objects: Vec<Object> = Vec::new();
    for document in documents {
        let line = document.kind.referenced.line();
        match object_of(document) {
            Ok(object) if objects.iter().any(|other| is_same(other, &object)) => {
                mistakes.push(format!("{origin}:{line}: {} is there twice", object.title()));
            }
            Ok(object) => objects.push(object),
            Err((line, mistake)) => mistakes.push(format!("{origin}:{line}: {mistake}")),
        }
    }
    if !mistakes.is_empty() {
        let failure = Failure::new(format!("{origin} is not valid; nothing was changed"));
        return Err(mistakes.into_iter().fold(failure, Failure::why));
    }
    objects.sort_by_key(|object| object.kind);
    Ok(objects)
}

fn is_same(one: &Object, other: &Object) -> bool {
    (one.kind, &one.tenant, &one.name) == (other.kind, &other.tenant, &other.name)
}

/// The object of a document, or what is wrong with it and in which line.
fn object_of(document: Document) -> Result<Object, (u64, String)> {
    if document.api_version.value != API_VERSION {
        let line = document.api_version.referenced.line();
        return Err((line, format!("apiVersion must be `{API_VERSION}`, not `{}`", document.api_version.value)));
    }
    let kind_line = document.kind.referenced.line();
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == document.kind.value).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        (kind_line, format!("`{}` is no kind: use {known}", document.kind.value))
    })?;
    let Metadata { tenant, name, labels } = document.metadata;
    let (line, spec) = document.spec.map_or((kind_line, Value::Null), |spec| (spec.referenced.line(), spec.value));
    let spec = if spec.is_null() { Value::Object(Map::new()) } else { spec };
    spec::check(kind, &spec).map_err(|mistake| (line, format!("{}/{name}: {mistake}", kind.singular())))?;
    Ok(Object { kind, tenant, name, labels, spec })
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    metadata: WrittenMetadata<'a>,
    spec: &'a Value,
}

#[derive(Serialize)]
struct WrittenMetadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    labels: &'a Value,
}

fn is_empty(labels: &&Value) -> bool {
    labels.as_object().is_none_or(Map::is_empty)
}

/// A stored object (the API's envelope) as a document that [`read`] takes.
pub(crate) fn write(kind: Kind, envelope: &Value) -> Result<String, Failure> {
    let name = envelope["name"].as_str().unwrap_or_default();
    let metadata = WrittenMetadata { name, labels: &envelope["labels"] };
    let document = Written { api_version: API_VERSION, kind: kind.as_str(), metadata, spec: &envelope["spec"] };
    serde_saphyr::to_string(&document).map_err(|error| {
        Failure::new(format!("{}/{name} cannot be written as YAML", kind.singular())).why(error.to_string())
    })
}

#[cfg(test)]
mod tests;
