//! Which arguments of each tool headers mirror, as the servers' own lists say (`mcp::x_header`).
//!
//! Invariant: what is kept was listed by the server itself. A list that was read whole says of every tool what it
//! wants; of what was never listed nothing is said.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tollgate_proto::ServerId;

use crate::mcp::{
    json::Raw,
    x_header::{AnnotationFault, Mirrors},
};

/// How long a whole list says that a tool it does not have annotated mirrors nothing.
const WHOLE_LIST: Duration = Duration::from_secs(300);
/// The most tools of one server whose annotations are kept.
const ANNOTATED_MAX: usize = 10_000;

/// What is known of every server's schemas.
#[derive(Debug, Default)]
pub struct Schemas {
    servers: Mutex<HashMap<ServerId, Arc<Listed>>>,
}

/// What one server's lists said.
#[derive(Debug, Default)]
pub struct Listed {
    tools: Mutex<Tools>,
    /// Held while the list is asked for, so that calls that need it ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Tools {
    annotated: HashMap<Box<str>, Arc<Mirrors>>,
    whole_at: Option<Instant>,
}

impl Schemas {
    /// What this server's lists said.
    #[must_use]
    pub fn of(&self, server: ServerId) -> Arc<Listed> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(servers.entry(server).or_default())
    }

    /// Forgets what this server's lists said: it announced that they changed.
    pub fn forget(&self, server: ServerId) {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).remove(&server);
    }
}

impl Listed {
    /// What headers mirror of a call of this tool; `None` when that is not known.
    #[must_use]
    pub fn mirrors(&self, tool: &str) -> Option<Arc<Mirrors>> {
        let tools = self.tools();
        let nothing = || tools.whole_at.is_some_and(|at| at.elapsed() < WHOLE_LIST).then(Arc::default);
        tools.annotated.get(tool).cloned().or_else(nothing)
    }

    /// Whether the whole list was read after this moment.
    #[must_use]
    pub fn is_newer_than(&self, moment: Instant) -> bool {
        self.tools().whole_at.is_some_and(|at| at > moment)
    }

    /// Waits until nobody else asks for the list; to be held while asking for it.
    pub async fn ask(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Learns from tools that the server listed, and leaves out those with annotations that break a rule, as clients
    /// over HTTP must (2026-07-28, basic/transports/streamable-http). `whole`: these are all of them.
    pub fn learn(&self, listed: Vec<Raw>, whole: bool) -> Vec<Raw> {
        let mut tools = self.tools();
        if whole {
            *tools = Tools { annotated: HashMap::new(), whole_at: Some(Instant::now()) };
        }
        let usable = |tool: &Raw| match read(tool) {
            Ok((name, mirrors)) => {
                tools.keep(name, mirrors);
                true
            }
            Err((name, fault)) => {
                tracing::warn!(tool = name, %fault, "a tool is shown to nobody");
                tools.annotated.remove(&*name);
                false
            }
        };
        listed.into_iter().filter(usable).collect()
    }

    fn tools(&self) -> MutexGuard<'_, Tools> {
        // Each entry is whole by itself: a panic elsewhere leaves nothing half done.
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tools {
    fn keep(&mut self, name: Box<str>, mirrors: Mirrors) {
        if mirrors.is_empty() {
            self.annotated.remove(&name);
        } else if self.annotated.len() < ANNOTATED_MAX {
            self.annotated.insert(name, Arc::new(mirrors));
        }
    }
}

/// A tool's name and what its schema wants mirrored. What has neither name nor schema is for others to judge.
fn read(tool: &Raw) -> Result<(Box<str>, Mirrors), (Box<str>, AnnotationFault)> {
    let members = tool.object().unwrap_or_default();
    let name: Box<str> = members.get("name").and_then(Raw::as_str).unwrap_or_default().into();
    match members.get("inputSchema").map_or(Ok(Mirrors::default()), Mirrors::read) {
        Ok(mirrors) => Ok((name, mirrors)),
        Err(fault) => Err((name, fault)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::mcp::json::{Bounds, parse};

    fn tool(name: &str, annotation: &Value) -> Raw {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": annotation}}});
        let tool = json!({"name": name, "inputSchema": schema});
        parse(&Bytes::from(tool.to_string()), &Bounds::UPSTREAM).unwrap()
    }

    fn plain(name: &str) -> Raw {
        parse(&Bytes::from(json!({"name": name, "inputSchema": {}}).to_string()), &Bounds::UPSTREAM).unwrap()
    }

    #[test]
    fn a_page_speaks_of_its_own_tools_and_a_whole_list_of_all() {
        let listed = Listed::default();
        assert_eq!(listed.learn(vec![tool("mirrored", &json!("A"))], false).len(), 1);
        assert!(listed.mirrors("mirrored").is_some_and(|mirrors| !mirrors.is_empty()));
        assert!(listed.mirrors("plain").is_none());
        let before = Instant::now();
        assert!(!listed.is_newer_than(before));
        listed.learn(vec![plain("plain")], true);
        assert!(listed.mirrors("mirrored").is_some_and(|mirrors| mirrors.is_empty()), "it is listed no more");
        assert!(listed.mirrors("plain").is_some_and(|mirrors| mirrors.is_empty()));
    }

    #[test]
    fn a_tool_that_breaks_a_rule_is_left_out() {
        let listed = Listed::default();
        listed.learn(vec![tool("t", &json!("A"))], true);
        let usable = listed.learn(vec![tool("t", &json!("two words")), plain("plain")], false);
        assert_eq!(usable, [plain("plain")]);
        assert!(listed.mirrors("t").is_some_and(|mirrors| mirrors.is_empty()));
    }

    #[test]
    fn what_changed_is_forgotten() {
        let (schemas, server) = (Schemas::default(), ServerId::new());
        schemas.of(server).learn(vec![tool("t", &json!("A"))], true);
        assert!(schemas.of(server).mirrors("t").is_some());
        schemas.forget(server);
        assert!(schemas.of(server).mirrors("t").is_none());
    }
}
