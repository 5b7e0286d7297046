//! Arguments that travel in headers too: the annotation `x-mcp-header` in a tool's schema, and the headers
//! `Mcp-Param-{Name}` that it asks for (2026-07-28, basic/transports/streamable-http, "Custom Headers").
//!
//! Invariant: a schema is either followed to the last annotation or not at all. One that breaks a rule mirrors nothing,
//! and its tool is shown to nobody.

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use http::{HeaderMap, HeaderName};

use super::{
    header::{self, HeaderFault},
    json::{Kind, Object, Raw},
};

const ANNOTATION: &str = "x-mcp-header";

/// Keywords whose value is a schema, or an array of schemas, that no chain of `properties` reaches.
const SCHEMAS: [&str; 17] = [
    "items",
    "additionalItems",
    "prefixItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
    "propertyNames",
    "contentSchema",
    "oneOf",
    "anyOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "extends",
];

/// Keywords whose value is an object of such schemas.
const SCHEMA_MAPS: [&str; 5] = ["patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];

/// The arguments of one tool that headers mirror. The default is: none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mirrors(Vec<Mirror>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    header: HeaderName,
    /// Property names from the arguments to the value.
    path: Vec<Box<str>>,
}

/// A schema with an annotation that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationFault {
    /// It stands where no chain of `properties` leads.
    #[error("`x-mcp-header` stands where no chain of `properties` leads")]
    Misplaced,
    /// It is no RFC 9110 token.
    #[error("`x-mcp-header` is no token")]
    NotAToken,
    /// What it annotates is no string, number or boolean.
    #[error("`x-mcp-header` annotates what is no string, number or boolean")]
    WrongType,
    /// It is there twice, capitals aside.
    #[error("`x-mcp-header` gives one name to two arguments")]
    Repeated,
}

impl Mirrors {
    /// Reads the annotations of a tool's `inputSchema`. Beside the types that the specification allows `number` is
    /// taken, as clients in the field do.
    ///
    /// # Errors
    /// The first annotation that breaks a rule.
    pub fn read(input_schema: &Raw) -> Result<Self, AnnotationFault> {
        let mut reading = Reading { found: Vec::new(), names: HashSet::new() };
        if may_be_annotated(input_schema) {
            reading.visit(input_schema, Some(&mut Vec::new()))?;
        }
        Ok(Self(reading.found))
    }

    /// Whether no argument is mirrored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers that mirror these arguments. A value that is absent, null, no scalar, or an integer beyond
    /// ±(2^53 - 1) has none.
    #[must_use]
    pub fn headers(&self, arguments: Option<&Raw>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for mirror in &self.0 {
            if let Some(value) = mirror.value(arguments).as_ref().and_then(header::encode_param) {
                headers.insert(mirror.header.clone(), value);
            }
        }
        headers
    }

    /// Demands that headers and arguments say the same. Headers `Mcp-Param-*` that the schema does not know say
    /// nothing here.
    ///
    /// # Errors
    /// Every kind of [`HeaderFault`].
    pub fn check(&self, headers: &HeaderMap, arguments: Option<&Raw>) -> Result<(), HeaderFault> {
        self.0.iter().try_for_each(|mirror| mirror.check(headers, arguments))
    }
}

impl Mirror {
    fn check(&self, headers: &HeaderMap, arguments: Option<&Raw>) -> Result<(), HeaderFault> {
        let header = || self.header.clone();
        let sent = header::single(headers, &self.header)?;
        let value = self.value(arguments).filter(|value| header::encode_param(value).is_some());
        match (sent, value) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(HeaderFault::Missing(header())),
            // Nothing in the body says what the header says.
            (Some(_), None) => Err(HeaderFault::Mismatch(header())),
            (Some(sent), Some(value)) => {
                let decoded = header::decode(sent).map_err(|_| HeaderFault::Illegible(header()))?;
                if header::param_equals(&decoded, &value) { Ok(()) } else { Err(HeaderFault::Mismatch(header())) }
            }
        }
    }

    fn value(&self, arguments: Option<&Raw>) -> Option<Raw> {
        self.path.iter().try_fold(arguments?.clone(), |value, key| value.object()?.get(key).cloned())
    }
}

struct Reading {
    found: Vec<Mirror>,
    names: HashSet<HeaderName>,
}

impl Reading {
    /// Visits one schema; `path` leads to it by `properties` alone, or there is none. The reader bounds the depth.
    fn visit(&mut self, schema: &Raw, mut path: Option<&mut Vec<Box<str>>>) -> Result<(), AnnotationFault> {
        // `true` and `false` are schemas too.
        let Some(members) = schema.object() else { return Ok(()) };
        if let Some(annotation) = members.get(ANNOTATION) {
            self.add(annotation, &members, path.as_deref().map_or(&[], Vec::as_slice))?;
        }
        for (keyword, value) in members.iter() {
            if keyword == "properties" {
                self.visit_properties(value, path.as_deref_mut())?;
            } else if SCHEMAS.contains(&keyword) {
                let branches = value.array().unwrap_or_else(|| vec![value.clone()]);
                branches.iter().try_for_each(|branch| self.visit(branch, None))?;
            } else if SCHEMA_MAPS.contains(&keyword) {
                let branches = value.object().unwrap_or_default();
                branches.iter().try_for_each(|(_, branch)| self.visit(branch, None))?;
            }
        }
        Ok(())
    }

    fn visit_properties(&mut self, properties: &Raw, path: Option<&mut Vec<Box<str>>>) -> Result<(), AnnotationFault> {
        let properties = properties.object().unwrap_or_default();
        let Some(path) = path else {
            return properties.iter().try_for_each(|(_, schema)| self.visit(schema, None));
        };
        for (name, schema) in properties.iter() {
            path.push(name.into());
            self.visit(schema, Some(path))?;
            path.pop();
        }
        Ok(())
    }

    fn add(&mut self, annotation: &Raw, schema: &Object, path: &[Box<str>]) -> Result<(), AnnotationFault> {
        if path.is_empty() {
            return Err(AnnotationFault::Misplaced);
        }
        let name = annotation.as_str().filter(|name| !name.is_empty()).ok_or(AnnotationFault::NotAToken)?;
        let header = HeaderName::from_bytes(format!("{}{name}", header::PARAM_PREFIX).as_bytes());
        let header = header.map_err(|_| AnnotationFault::NotAToken)?;
        let kind = schema.get("type").and_then(Raw::as_str);
        if !matches!(kind.as_deref(), Some("string" | "integer" | "boolean" | "number")) {
            return Err(AnnotationFault::WrongType);
        }
        if !self.names.insert(header.clone()) {
            return Err(AnnotationFault::Repeated);
        }
        self.found.push(Mirror { header, path: path.to_vec() });
        Ok(())
    }
}

/// Whether a schema is worth a visit: most have no annotation, and a key may be written with escapes.
fn may_be_annotated(schema: &Raw) -> bool {
    let text = std::str::from_utf8(schema.as_bytes()).unwrap_or_default();
    schema.kind() == Kind::Object && (text.contains(ANNOTATION) || text.contains("\\u"))
}
