//! Labels: free words that people find objects by.

use std::collections::BTreeMap;

use crate::error::Faults;

/// Of one object.
pub(crate) const COUNT_MAX: usize = 32;
/// In characters.
pub(crate) const KEY_LEN_MAX: usize = 63;
/// In characters.
pub(crate) const VALUE_LEN_MAX: usize = 120;

/// Keys with their values.
pub type Labels = BTreeMap<String, String>;

/// Notes what is wrong with `labels`.
pub(super) fn check(labels: &Labels, faults: &mut Faults) {
    if labels.len() > COUNT_MAX {
        faults.add("/labels", "too_many", format!("at most {COUNT_MAX} labels"));
    }
    for (key, value) in labels {
        let pointer = format!("/labels/{}", key.replace('~', "~0").replace('/', "~1"));
        if !(1..=KEY_LEN_MAX).contains(&key.chars().count()) || key.chars().any(char::is_control) {
            faults.add(&pointer, "label_key", format!("a label's key has 1 to {KEY_LEN_MAX} printable characters"));
        }
        if value.chars().count() > VALUE_LEN_MAX || value.chars().any(char::is_control) {
            faults.add(
                &pointer,
                "label_value",
                format!("a label's value has up to {VALUE_LEN_MAX} printable characters"),
            );
        }
    }
}
