//! Turns texts into what a role needs, collecting every mistake on the way.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use url::Url;

use tollgate_control_plane::duration::{self, DurationError};
use tollgate_proto::EnrollmentToken;

use super::{Settings, table};
use crate::failure::{Exit, Failure};

/// A duration such as `50ms`, `30s` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, DurationError> {
    match text.strip_suffix("ms").and_then(|count| count.parse().ok()) {
        Some(count) if count > 0 => Ok(Duration::from_millis(count)),
        _ => duration::seconds(text).map(Duration::from_secs),
    }
}

/// Reads the settings of one role.
pub(crate) struct Reader {
    settings: Settings,
}

impl Reader {
    pub(crate) const fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// A text that may be missing.
    pub(crate) fn optional(&self, key: &str) -> Option<String> {
        self.settings.values.get(key).map(|(value, _)| value.clone())
    }

    /// A text that must be there.
    pub(crate) fn required(&mut self, key: &str) -> Option<String> {
        let value = self.optional(key);
        if value.is_none() {
            let setting = table::find(key);
            self.problem(format!("`{key}` is missing: give --{} or {}", setting.flag(), setting.variable()));
        }
        value
    }

    /// A path that may be missing.
    pub(crate) fn path(&self, key: &str) -> Option<PathBuf> {
        self.optional(key).map(PathBuf::from)
    }

    /// A value that may be missing, of any type with a text form.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str) -> Option<T> {
        let (value, source) = self.settings.values.get(key)?;
        match value.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let shown = table::find(key).shown(value);
                let problem = format!("`{key}` is `{shown}` (from {source}): {error}");
                self.problem(problem);
                None
            }
        }
    }

    /// The same, with a default for what is missing.
    pub(crate) fn parsed_or_default<T: FromStr<Err: Display> + Default>(&mut self, key: &str) -> T {
        self.parsed(key).unwrap_or_default()
    }

    /// A duration such as `30s` or `2m`.
    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        let text: String = self.parsed(key)?;
        duration(&text).map_err(|error| self.problem(format!("`{key}`: {error}"))).ok()
    }

    /// A base URL that may be missing: `http` or `https`, and nothing behind its path.
    pub(crate) fn base_url(&mut self, key: &str) -> Option<Url> {
        let url: Url = self.parsed(key)?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            self.problem(format!("`{key}` is `{url}`: give an http or https URL without query and fragment"));
            return None;
        }
        Some(url)
    }

    /// A list, separated by commas; empty when missing.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let values = self.optional(key).unwrap_or_default();
        values.split(',').map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// An enrollment token that may be missing, given itself (`enrollment_token`) or in a file.
    pub(crate) fn enrollment_token(&mut self) -> Option<EnrollmentToken> {
        const KEY: &str = "enrollment_token";
        const FILE_KEY: &str = "enrollment_token_file";
        let (key, text) = match (self.optional(KEY), self.path(FILE_KEY)) {
            (Some(text), _) => (KEY, text),
            (None, Some(file)) => (FILE_KEY, self.read_file(FILE_KEY, &file)?),
            (None, None) => return None,
        };
        match EnrollmentToken::read(text.trim()) {
            Ok(token) => Some(token),
            Err(error) => {
                self.problem(format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// The text of a file that a setting names.
    pub(crate) fn read_file(&mut self, key: &str, file: &PathBuf) -> Option<String> {
        match std::fs::read_to_string(file) {
            Ok(text) => Some(text),
            Err(error) => {
                self.problem(format!("`{key}`: cannot read {}: {error}", file.display()));
                None
            }
        }
    }

    /// Notes a mistake.
    pub(crate) fn problem(&mut self, problem: String) {
        self.settings.problems.push(problem);
    }

    /// What was read, or every mistake at once.
    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Failure> {
        match read {
            Some(read) if self.settings.problems.is_empty() => Ok(read),
            _ => {
                let failure = Failure::new("the settings are not complete or not valid").exit(Exit::Usage);
                let failure = self.settings.problems.into_iter().fold(failure, Failure::why);
                Err(failure.cure("see what is in force and from where with --print-config"))
            }
        }
    }
}
