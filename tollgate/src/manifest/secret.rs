//! Secrets that a file refers to: `env:NAME` and `file:PATH`, read on the machine where the command runs.
//!
//! Invariant: what is read goes into the request and into no message; a reference that leads nowhere stops the command
//! before anything is sent.

use std::path::Path;

use serde_json::Value;

use super::{Kind, Object};
use crate::failure::Failure;

const LITERAL: &str = "literal:";

/// Puts the secrets in place of the references to them; paths start at `folder`.
pub(crate) fn resolve(objects: &mut [Object], folder: &Path) -> Result<(), Failure> {
    let mut mistakes = Vec::new();
    for object in objects.iter_mut().filter(|object| object.kind == Kind::Server) {
        let title = object.title();
        for reference in object.spec.get_mut("credential").map(references).unwrap_or_default() {
            if let Value::String(text) = reference {
                match read(text, folder) {
                    Ok(Some(secret)) => *text = format!("{LITERAL}{secret}"),
                    Ok(None) => {}
                    Err(mistake) => mistakes.push(format!("{title}: {mistake}")),
                }
            }
        }
    }
    if mistakes.is_empty() {
        return Ok(());
    }
    let failure = Failure::new("a secret cannot be read; nothing was changed");
    Err(mistakes.into_iter().fold(failure, Failure::why))
}

/// Whether a member of this name is a secret, or refers to one.
pub(crate) fn is_reference(member: &str) -> bool {
    matches!(member, "value_ref" | "secret_ref" | "client_secret")
}

/// Where a credential has secrets.
fn references(credential: &mut Value) -> Vec<&mut Value> {
    let Value::Object(members) = credential else { return Vec::new() };
    let mut found = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            (name, value) if is_reference(name) => found.push(value),
            ("headers", Value::Array(headers)) => {
                found.extend(headers.iter_mut().filter_map(|header| header.get_mut("value_ref")));
            }
            _ => {}
        }
    }
    found
}

/// The secret that `reference` leads to; `None` when it is no reference to this machine.
fn read(reference: &str, folder: &Path) -> Result<Option<String>, String> {
    if let Some(name) = reference.strip_prefix("env:") {
        let value = std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
        return Ok(Some(value));
    }
    let Some(path) = reference.strip_prefix("file:") else { return Ok(None) };
    let path = folder.join(path);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    // Editors end a file with a line break that is no part of the secret.
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(credential: &str) -> Vec<Object> {
        let text = format!(
            "apiVersion: tollgate/v1\nkind: Server\nmetadata: {{name: files}}\n\
             spec: {{instances: [{{url: http://127.0.0.1:1/mcp}}], credential: {credential}}}\n"
        );
        super::super::read(&text, "t.yaml").expect("reads")
    }

    #[test]
    fn references_are_resolved_where_the_command_runs() {
        let folder = std::env::temp_dir().join(format!("tollgate-secrets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("key"), "from a file\n").expect("writes");
        let mut objects = server(
            "{type: header, headers: [{name: a, value_ref: \"file:key\"}, {name: b, value_ref: \"env:CARGO_PKG_NAME\"}, \
             {name: c, value_ref: \"literal:env:x\"}, {name: d}]}",
        );
        resolve(&mut objects, &folder).expect("resolves");
        std::fs::remove_dir_all(&folder).expect("goes");
        let headers = &objects[0].spec["credential"]["headers"];
        assert_eq!(headers[0]["value_ref"], "literal:from a file");
        assert_eq!(headers[1]["value_ref"], json!(format!("literal:{}", env!("CARGO_PKG_NAME"))));
        assert_eq!(headers[2]["value_ref"], "literal:env:x");
        assert_eq!(headers[3], json!({ "name": "d" }));
    }

    #[test]
    fn every_reference_that_leads_nowhere_is_told() {
        let mut objects =
            server("{type: oauth_client_credentials, client_id: a, secret_ref: \"env:NO_SUCH_VARIABLE_HERE\"}");
        let failure = resolve(&mut objects, Path::new("")).expect_err("not set").to_string();
        assert!(failure.contains("server/files") && failure.contains("NO_SUCH_VARIABLE_HERE"), "{failure}");
        let mut objects = server("{type: header, name: a, value_ref: \"file:no/such/file\"}");
        let failure = resolve(&mut objects, Path::new("")).expect_err("not there").to_string();
        assert!(failure.contains("cannot read no/such/file"), "{failure}");
    }
}
