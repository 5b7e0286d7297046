//! Something that is learnt of every tool.
//!
//! Invariant: memory is bounded by the number of tools, whatever servers and agents do.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Tools that are remembered. Of the others nothing is ever known.
const TOOLS_MAX: usize = 50_000;

/// What was learnt of every tool, by server and name.
#[derive(Debug)]
pub(super) struct PerTool<T>(Mutex<Learnt<T>>);

#[derive(Debug)]
struct Learnt<T> {
    tools: HashMap<Box<str>, HashMap<Box<str>, T>>,
    count: usize,
}

impl<T> Default for PerTool<T> {
    fn default() -> Self {
        Self(Mutex::new(Learnt { tools: HashMap::new(), count: 0 }))
    }
}

impl<T: Default> PerTool<T> {
    /// What is known of a tool.
    pub(super) fn of<R>(&self, server: &str, tool: &str, read: impl FnOnce(&T) -> R) -> Option<R> {
        self.learnt().tools.get(server)?.get(tool).map(read)
    }

    pub(super) fn learn(&self, server: &str, tool: &str, add: impl FnOnce(&mut T)) {
        let mut learnt = self.learnt();
        if let Some(known) = learnt.tools.get_mut(server).and_then(|tools| tools.get_mut(tool)) {
            add(known);
        } else if learnt.count < TOOLS_MAX {
            learnt.count += 1;
            add(learnt.tools.entry(server.into()).or_default().entry(tool.into()).or_default());
        }
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt<T>> {
        // What is learnt is a guess: a panic elsewhere makes it no worse.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_tools_are_remembered_than_there_is_room_for() {
        let known = PerTool::<u32>::default();
        for tool in 0..=TOOLS_MAX {
            known.learn("s", &tool.to_string(), |seen| *seen += 1);
        }
        assert_eq!(known.of("s", "0", |seen| *seen), Some(1));
        assert_eq!(known.of("s", &TOOLS_MAX.to_string(), |seen| *seen), None);
        known.learn("s", "0", |seen| *seen += 1);
        assert_eq!(known.of("s", "0", |seen| *seen), Some(2));
    }
}
