//! The console's cookies.
//!
//! Invariant: over https every cookie that proves something has the `__Host-` prefix and `Secure`; over plain http,
//! which is for loopback, it has neither, because browsers would drop it.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::app::App;

const SESSION_MAX_AGE_S: u32 = 43_200;
const FORM_MAX_AGE_S: u32 = 1_800;
const ATTEMPT_MAX_AGE_S: u32 = 600;
/// Further sign-ins through providers end the ones before: a browser sends them all with every request.
const ATTEMPTS_MAX: usize = 4;
/// So many characters of the `state` name an attempt's cookie.
const ATTEMPT_NAME_LEN: usize = 12;
const THEME_MAX_AGE_S: u32 = 31_536_000;
const THEME: &str = "tollgate_theme";

/// What a request's `Cookie` headers say.
pub(crate) struct Cookies<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Cookies<'a> {
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        Self(lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    /// The session's text, whatever its tenant: signing in to one tenant signs the browser out of the others.
    pub(crate) fn session(&self, app: &App) -> Option<&'a str> {
        self.0.iter().find(|(name, _)| is_session(app, name)).map(|(_, value)| *value)
    }

    /// The secret that a sign-in form is bound to.
    pub(crate) fn form(&self, app: &App) -> Option<&'a str> {
        self.get(form_name(app))
    }

    /// What was sealed when the sign-in with this `state` left for a provider.
    pub(crate) fn attempt(&self, app: &App, state: &str) -> Option<&'a str> {
        self.get(&attempt_name(app, state)?)
    }

    /// The theme that was chosen.
    pub(crate) fn theme(&self) -> Option<&'static str> {
        match self.get(THEME) {
            Some("light") => Some("light"),
            Some("dark") => Some("dark"),
            _ => None,
        }
    }

    /// Headers that make the browser forget every session it has here but the one named `kept`.
    fn forget_sessions(&self, app: &App, kept: &str) -> Vec<HeaderValue> {
        let others = self.0.iter().filter(|(name, _)| is_session(app, name) && *name != kept);
        others.filter_map(|(name, _)| value(app, name, "", 0)).collect()
    }
}

/// Headers that begin a session.
pub(crate) fn begin_session(app: &App, cookies: &Cookies<'_>, tenant: &str, text: &str) -> HeaderMap {
    let name = session_name(app, tenant);
    let mut all = cookies.forget_sessions(app, &name);
    all.extend(value(app, &name, text, SESSION_MAX_AGE_S));
    all.extend(value(app, form_name(app), "", 0));
    set_all(all)
}

/// Headers that end every session of this browser here.
pub(crate) fn end_session(app: &App, cookies: &Cookies<'_>) -> HeaderMap {
    set_all(cookies.forget_sessions(app, ""))
}

/// Headers that keep a sign-in that leaves for a provider.
pub(crate) fn begin_attempt(app: &App, cookies: &Cookies<'_>, state: &str, sealed: &str) -> HeaderMap {
    let attempts: Vec<_> = cookies.0.iter().filter(|(name, _)| name.starts_with(attempt_prefix(app))).collect();
    let full = attempts.len() >= ATTEMPTS_MAX;
    let ended = attempts.into_iter().filter(|_| full).filter_map(|(name, _)| value(app, name, "", 0));
    let begun = attempt_name(app, state).and_then(|name| value(app, &name, sealed, ATTEMPT_MAX_AGE_S));
    set_all(ended.chain(begun).collect::<Vec<_>>())
}

/// Headers that forget a sign-in that has come back.
pub(crate) fn end_attempt(app: &App, state: &str) -> HeaderMap {
    set_all(attempt_name(app, state).and_then(|name| value(app, &name, "", 0)))
}

/// Headers that bind a sign-in form to this browser.
pub(crate) fn begin_form(app: &App, text: &str) -> HeaderMap {
    set_all(value(app, form_name(app), text, FORM_MAX_AGE_S))
}

/// Headers that remember a theme; anything but `light` and `dark` follows the system.
pub(crate) fn choose_theme(app: &App, theme: &str) -> HeaderMap {
    let known = matches!(theme, "light" | "dark");
    set_all(value(app, THEME, if known { theme } else { "" }, if known { THEME_MAX_AGE_S } else { 0 }))
}

fn session_name(app: &App, tenant: &str) -> String {
    if secure(app) { format!("__Host-tollgate_{tenant}") } else { "tollgate_s".to_owned() }
}

fn is_session(app: &App, name: &str) -> bool {
    // A tenant's name holds no underscore, so that no tenant can be called like the cookies of a sign-in.
    let of_tenant = |name: &str| name.strip_prefix("__Host-tollgate_").is_some_and(|tenant| !tenant.contains('_'));
    if secure(app) { of_tenant(name) } else { name == "tollgate_s" }
}

fn form_name(app: &App) -> &'static str {
    if secure(app) { "__Host-tollgate_sign_in" } else { "tollgate_sign_in" }
}

fn attempt_prefix(app: &App) -> &'static str {
    if secure(app) { "__Host-tollgate_l_" } else { "tollgate_l_" }
}

/// `None` for what cannot be a `state` of ours.
fn attempt_name(app: &App, state: &str) -> Option<String> {
    let text = state.get(..ATTEMPT_NAME_LEN)?;
    let ours = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    ours.then(|| format!("{}{text}", attempt_prefix(app)))
}

fn secure(app: &App) -> bool {
    app.urls.control.starts_with("https://")
}

fn value(app: &App, name: &str, text: &str, max_age_s: u32) -> Option<HeaderValue> {
    let secure = if secure(app) { "; Secure" } else { "" };
    let line = format!("{name}={text}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age_s}{secure}");
    HeaderValue::from_str(&line).ok()
}

fn set_all(values: impl IntoIterator<Item = HeaderValue>) -> HeaderMap {
    values.into_iter().map(|value| (header::SET_COOKIE, value)).collect()
}
