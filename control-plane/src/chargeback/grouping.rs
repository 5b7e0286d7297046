//! By what a report is added up.

use std::{fmt, str::FromStr};

use crate::resource::labels;

/// More keys make lines that nobody reads.
const KEYS_MAX: usize = 3;
const LABEL: &str = "label:";

/// What calls are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The team that was charged.
    Team,
    /// Its cost centre at the time of the call.
    CostCenter,
    /// The agent that called.
    Agent,
    /// The user that was acted for.
    User,
    /// The server that was called.
    Server,
    /// The tool, as `server:tool`.
    Tool,
    /// The team that the server belongs to now.
    ServerTeam,
    /// The value of this label of the agent at the time of the call.
    Label(String),
    /// The calendar day in the tenant's time zone.
    Day,
}

/// The keys of a report, in their order: at most three, none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouping(Vec<Key>);

/// A text that is no grouping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupingError {
    /// No such key.
    #[error(
        "`{0}` is nothing to group by: use `team`, `cost_center`, `agent`, `user`, `server`, `tool`, `server_team`, \
         `label:KEY` or `day`"
    )]
    Unknown(String),
    /// A key twice, or more than three.
    #[error("group by up to {KEYS_MAX} keys, each once, separated by commas")]
    Keys,
}

impl Grouping {
    /// The keys, in their order.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = GroupingError;

    fn from_str(text: &str) -> Result<Self, GroupingError> {
        let label = |text: &str| {
            let key = text.strip_prefix(LABEL)?;
            let fits = (1..=labels::KEY_LEN_MAX).contains(&key.chars().count()) && !key.contains([',', '\0']);
            fits.then(|| Self::Label(key.to_owned()))
        };
        Ok(match text {
            "team" => Self::Team,
            "cost_center" => Self::CostCenter,
            "agent" => Self::Agent,
            "user" => Self::User,
            "server" => Self::Server,
            "tool" => Self::Tool,
            "server_team" => Self::ServerTeam,
            "day" => Self::Day,
            _ => label(text).ok_or_else(|| GroupingError::Unknown(text.chars().take(40).collect()))?,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Team => "team",
            Self::CostCenter => "cost_center",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::ServerTeam => "server_team",
            Self::Day => "day",
            Self::Label(key) => return write!(f, "{LABEL}{key}"),
        })
    }
}

impl FromStr for Grouping {
    type Err = GroupingError;

    fn from_str(text: &str) -> Result<Self, GroupingError> {
        let keys = text.split(',').map(str::trim).map(str::parse).collect::<Result<Vec<Key>, _>>()?;
        let distinct = keys.iter().enumerate().all(|(index, key)| !keys[..index].contains(key));
        if keys.len() > KEYS_MAX || !distinct { Err(GroupingError::Keys) } else { Ok(Self(keys)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grouping_is_a_few_keys_each_once() {
        for text in ["team", "cost_center,agent,day", "server_team,label:stage", "user,tool,server"] {
            let grouping: Grouping = text.parse().expect(text);
            let keys: Vec<String> = grouping.keys().iter().map(ToString::to_string).collect();
            assert_eq!(keys.join(","), text);
        }
        for text in ["", "Team", "label:", "team,", "planet", "team,team", "team,agent,user,tool"] {
            assert!(text.parse::<Grouping>().is_err(), "{text}");
        }
    }
}
