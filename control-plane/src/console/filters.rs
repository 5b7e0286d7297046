//! How values read on a page: the filters of the templates.
//!
//! Invariant: text that a server, a client or another tenant's user wrote goes through [`untrusted`], so that no
//! invisible character can make it look like something else.

#![allow(unreachable_pub, reason = "the filter attribute makes public structs")]

use std::fmt::Display;

use askama::{Result, Values};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    instance_health::Health,
    invisible,
    servers::{Era, ServerSpec, Transport},
    usage::UsageRecord,
};

const UNTRUSTED_CHARS_MAX: usize = 200;

/// Shows control, bidirectional, zero-width and tag characters as `‹U+202E›` and cuts what is very long.
#[askama::filter_fn]
pub(super) fn untrusted(text: impl Display, _: &dyn Values) -> Result<String> {
    Ok(visible(&text.to_string()))
}

/// `2026-11-22 17:04:05 UTC`.
#[askama::filter_fn]
pub(super) fn at(time: &DateTime<Utc>, _: &dyn Values) -> Result<String> {
    Ok(time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// `22 Nov 17:04:05`.
#[askama::filter_fn]
pub(super) fn brief(time: &DateTime<Utc>, _: &dyn Values) -> Result<String> {
    Ok(time.format("%-d %b %H:%M:%S").to_string())
}

/// For the attribute `datetime`: RFC 3339.
#[askama::filter_fn]
pub(super) fn machine(time: &DateTime<Utc>, _: &dyn Values) -> Result<String> {
    Ok(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// `12 345`, with thin spaces between the thousands.
#[askama::filter_fn]
pub(super) fn count(number: &i64, _: &dyn Values) -> Result<String> {
    Ok(grouped(*number))
}

/// Milliseconds as `0.8 ms`, `45 ms`, `3.4 s`.
#[askama::filter_fn]
pub(super) fn duration(ms: &f64, _: &dyn Values) -> Result<String> {
    Ok(duration_text(*ms))
}

/// How long ago that was: `45 ms`, `3.4 s`, `12 min`, `3 h`.
#[askama::filter_fn]
pub(super) fn age(since: &DateTime<Utc>, _: &dyn Values) -> Result<String> {
    let age = (Utc::now() - since).to_std().unwrap_or_default();
    Ok(match age.as_secs() {
        0..60 => duration_text(f64::from(u32::try_from(age.as_millis()).unwrap_or(u32::MAX))),
        seconds @ 60..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    })
}

/// How much of a call's time was Tollgate's.
#[askama::filter_fn]
pub(super) fn overhead(call: &UsageRecord, _: &dyn Values) -> Result<String> {
    Ok(duration_text((call.duration_ms - call.upstream_ms).max(0.0)))
}

/// What a server speaks, in words.
#[askama::filter_fn]
pub(super) fn transport(spec: &ServerSpec, _: &dyn Values) -> Result<&'static str> {
    Ok(match spec.transport {
        Some(Transport::Sse) => "HTTP with a separate event stream",
        Some(Transport::StreamableHttp) | None => "streamable HTTP",
    })
}

#[askama::filter_fn]
pub(super) fn era(spec: &ServerSpec, _: &dyn Values) -> Result<&'static str> {
    Ok(match spec.effective().era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
        Era::Auto => "found out by asking",
    })
}

/// How an instance does, in a word.
#[askama::filter_fn]
pub(super) fn health_word(health: &Health, _: &dyn Values) -> Result<&'static str> {
    Ok(match health {
        Health::Unknown => "not asked yet",
        other => other.as_str(),
    })
}

/// The colour and shape of its dot.
#[askama::filter_fn]
pub(super) fn health_tone(health: &Health, _: &dyn Values) -> Result<&'static str> {
    Ok(match health {
        Health::Unknown => "",
        Health::Healthy => "good",
        Health::Returning | Health::Unhealthy => "warn",
        Health::Ejected => "bad",
    })
}

/// The end of an id that is too long to be read: the beginnings of ids are alike.
#[askama::filter_fn]
pub(super) fn short(id: impl Display, _: &dyn Values) -> Result<String> {
    let text = id.to_string();
    let tail = text.char_indices().rev().nth(7).map_or(0, |(index, _)| index);
    Ok(if tail == 0 { text } else { format!("…{}", &text[tail..]) })
}

/// The colour of a decision's dot.
#[askama::filter_fn]
pub(super) fn decision_tone(decision: impl Display, _: &dyn Values) -> Result<&'static str> {
    Ok(match decision.to_string().as_str() {
        "allowed" => "good",
        limited if limited.ends_with("limited") || limited.starts_with("rate_") || limited == "overloaded" => "warn",
        _ => "bad",
    })
}

/// The colour of an outcome's dot.
#[askama::filter_fn]
pub(super) fn outcome_tone(outcome: impl Display, _: &dyn Values) -> Result<&'static str> {
    Ok(match outcome.to_string().as_str() {
        "ok" => "good",
        "refused" => "",
        "tool_error" | "rpc_error" | "abandoned" | "cut_off" | "unknown" => "warn",
        _ => "bad",
    })
}

/// An outcome in words.
#[askama::filter_fn]
pub(super) fn outcome_words(outcome: impl Display, _: &dyn Values) -> Result<String> {
    Ok(outcome.to_string().replace('_', " "))
}

pub(super) fn visible(text: &str) -> String {
    invisible::visible(text, UNTRUSTED_CHARS_MAX)
}

pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut shown = String::from(if number < 0 { "−" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push('\u{2009}');
        }
        shown.push(digit);
    }
    shown
}

pub(super) fn duration_text(ms: f64) -> String {
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceiving_characters_become_visible() {
        assert_eq!(visible("pay\u{202E}gnp.exe"), "pay‹U+202E›gnp.exe");
        assert_eq!(visible("a\u{200B}b\nc\u{E0041}"), "a‹U+200B›b‹U+000A›c‹U+E0041›");
        assert_eq!(visible("Grüße <b>"), "Grüße <b>");
        assert_eq!(visible(&"x".repeat(500)).chars().count(), UNTRUSTED_CHARS_MAX + 1);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(grouped(-12), "−12");
        assert_eq!(duration_text(0.84), "0.8 ms");
        assert_eq!(duration_text(45.4), "45 ms");
        assert_eq!(duration_text(999.7), "1.0 s");
        assert_eq!(duration_text(3_440.0), "3.4 s");
    }
}
