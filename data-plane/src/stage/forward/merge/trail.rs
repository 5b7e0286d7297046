//! The trail that a walk through a server's pages leaves in the cursor of a merged list, by which a list that goes in a
//! circle is noticed however few of its pages are asked for at once.
//!
//! Invariant: whatever a server's cursors are, a walk ends. A circle is noticed within three times its way (Brent's
//! algorithm), in a few bytes.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// Pages of one server's list.
const PAGES_MAX: u32 = 10_000;

/// Where a walk has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trail {
    pages: u32,
    /// The cursor after the latest page whose number is a power of two.
    mark: u64,
}

/// The list has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endless;

impl Trail {
    /// The trail after the page that ended with this cursor.
    ///
    /// # Errors
    /// [`Endless`] when the walk was there before, or is too long.
    pub fn step(self, cursor: &str) -> Result<Self, Endless> {
        let hash = digest(&SHA256, cursor.as_bytes());
        let here = hash.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if (self.pages > 0 && here == self.mark) || self.pages >= PAGES_MAX {
            return Err(Endless);
        }
        let pages = self.pages + 1;
        Ok(Self { pages, mark: if pages.is_power_of_two() { here } else { self.mark } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages are walked until the circle is noticed.
    fn walked(cursors: impl Iterator<Item = String>) -> usize {
        let mut trail = Trail::default();
        for (page, cursor) in cursors.enumerate() {
            match trail.step(&cursor) {
                Ok(next) => trail = next,
                Err(Endless) => return page + 1,
            }
        }
        panic!("the walk ended by itself")
    }

    #[test]
    fn a_circle_is_noticed_within_three_times_its_way() {
        for (way_in, circle) in [(0, 1), (0, 2), (1, 1), (3, 5), (10, 7), (100, 64)] {
            let cursors = (0..way_in + 1_000 * circle).map(|page| {
                let place = if page < way_in { page } else { way_in + (page - way_in) % circle };
                place.to_string()
            });
            let walked = walked(cursors);
            assert!(walked <= 3 * (way_in + circle) + 3, "{way_in} and {circle}: {walked}");
        }
    }

    #[test]
    fn a_list_that_ends_is_walked_to_its_end() {
        let mut trail = Trail::default();
        for page in 0..PAGES_MAX {
            trail = trail.step(&page.to_string()).unwrap();
        }
        assert_eq!(trail.step("one more"), Err(Endless));
    }

    #[test]
    fn an_empty_cursor_is_one_like_any_other() {
        assert!(Trail::default().step("").unwrap().step("").is_err());
    }
}
