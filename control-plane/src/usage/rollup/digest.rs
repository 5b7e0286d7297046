//! What a combination is found by.
//!
//! Invariant: two combinations that differ anywhere have different bytes: every text is preceded by its length.

use aws_lc_rs::digest::{Context, SHA256};
use uuid::Uuid;

use crate::usage::fact::Combination;

/// SHA-256 of a combination.
pub(super) type Digest = [u8; 32];

pub(super) fn digest(combination: &Combination) -> Digest {
    let Combination {
        team_id,
        team,
        cost_center,
        agent_id,
        agent,
        user_id,
        user,
        server_id,
        server,
        tool,
        method,
        outcome,
        currency,
        labels,
    } = combination;
    let mut context = Context::new(&SHA256);
    for id in [team_id, agent_id, user_id, server_id] {
        // No id of ours is nil.
        context.update(id.unwrap_or(Uuid::nil()).as_bytes());
    }
    for name in [team, cost_center, agent, user, server, tool, method, outcome.as_ref(), currency] {
        add_text(&mut context, name);
    }
    for (key, value) in labels {
        add_text(&mut context, key);
        add_text(&mut context, value);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn add_text(context: &mut Context, text: &str) {
    context.update(&(text.len() as u64).to_be_bytes());
    context.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::{borrow::Cow, collections::BTreeMap};

    use super::*;

    fn combination() -> Combination {
        Combination {
            team_id: None,
            team: "ab".to_owned(),
            cost_center: "c".to_owned(),
            agent_id: Some(Uuid::from_u128(1)),
            agent: String::new(),
            user_id: None,
            user: String::new(),
            server_id: None,
            server: String::new(),
            tool: String::new(),
            method: String::new(),
            outcome: Cow::Borrowed("ok"),
            currency: String::new(),
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn what_differs_anywhere_has_another_digest() {
        let shifted = Combination { team: "a".to_owned(), cost_center: "bc".to_owned(), ..combination() };
        let moved = Combination { agent_id: None, user_id: Some(Uuid::from_u128(1)), ..combination() };
        let labelled = Combination { labels: [("k".to_owned(), "v".to_owned())].into(), ..combination() };
        let otherwise = Combination { labels: [("kv".to_owned(), String::new())].into(), ..combination() };
        let priced = Combination { currency: "EUR".to_owned(), ..combination() };
        let all = [combination(), shifted, moved, labelled, otherwise, priced];
        for (index, one) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| digest(other) != digest(one)), "{one:?}");
        }
        assert_eq!(digest(&combination()), digest(&combination()));
    }
}
