//! Whether a gauge that was read again and again has grown.
//!
//! Invariant: the judgement rests on the slope over the second half of the readings alone, so that neither how much
//! something is, nor how it got there, counts.

/// What a gauge did over the second half of its readings, which are equally far apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Its mean.
    pub level: f64,
    /// By how much the line of least squares rises from the first reading of that half to the last one.
    pub growth: f64,
}

/// How much growth is taken for noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// A share of the level.
    pub share: f64,
    /// So much is always noise, in the gauge's own unit: where the level is next to nothing, every share of it is.
    pub noise: f64,
}

impl Trend {
    /// Reads the second half.
    #[must_use]
    pub fn of(readings: &[f64]) -> Self {
        let half = &readings[readings.len() / 2..];
        let level = mean(half.iter().copied());
        let middle = mean(positions(half));
        let (mut with, mut of) = (0.0, 0.0);
        for (position, reading) in positions(half).zip(half) {
            with += (position - middle) * (reading - level);
            of += (position - middle).powi(2);
        }
        // Of a single reading nothing is known.
        let slope = if of == 0.0 { 0.0 } else { with / of };
        Self { level, growth: slope * 2.0 * middle }
    }

    /// By how much it grew, as a share of its level.
    #[must_use]
    pub fn share(&self) -> f64 {
        if self.level == 0.0 { 0.0 } else { self.growth / self.level }
    }

    /// Whether it grew by more than noise.
    #[must_use]
    pub fn exceeds(&self, bound: Bound) -> bool {
        self.growth > bound.noise && self.share() > bound.share
    }
}

fn positions(readings: &[f64]) -> impl Iterator<Item = f64> {
    (0..readings.len()).map(|position| f64::from(u32::try_from(position).expect("few readings")))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { share: 0.1, noise: 5.0 };

    fn readings(of: impl Fn(f64) -> f64) -> Vec<f64> {
        (0..100).map(|position| of(f64::from(position))).collect()
    }

    #[test]
    fn what_fills_up_and_then_stays_has_not_grown() {
        let trend = Trend::of(&readings(|at| if at < 40.0 { at * 10.0 } else { 400.0 }));
        assert_eq!(trend, Trend { level: 400.0, growth: 0.0 });
        assert!(!trend.exceeds(BOUND));
    }

    #[test]
    fn what_is_swept_out_again_and_again_has_not_grown() {
        assert!(!Trend::of(&readings(|at| 300.0 + 20.0 * (at % 7.0))).exceeds(BOUND));
    }

    #[test]
    fn what_goes_on_growing_has_grown_however_large_it_was() {
        let trend = Trend::of(&readings(|at| 1_000.0 + 5.0 * at));
        assert!((trend.growth - 245.0).abs() < 0.001, "{trend:?}");
        assert!(trend.exceeds(BOUND));
    }

    #[test]
    fn a_few_more_of_next_to_nothing_are_noise() {
        assert!(!Trend::of(&readings(|at| at / 20.0)).exceeds(BOUND));
    }

    #[test]
    fn of_no_reading_and_of_one_nothing_is_known() {
        for readings in [&[][..], &[7.0]] {
            assert!(!Trend::of(readings).exceeds(BOUND));
        }
    }
}
