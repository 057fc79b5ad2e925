//! Stacked bars over time, drawn here: no script, no style in the markup, and the same figures
//! in a table below for those who don't see them.

use maud::{Markup, html};

use super::parts::thousandths;
use super::{format, parts};

/// Colours; the last one is for all the rest.
const COLOURS: usize = 7;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Tokens,
    /// Nanodollars.
    Money,
    Requests,
    Users,
}

impl Unit {
    fn show(self, value: u64) -> String {
        match self {
            Self::Money => format::dollars(i64::try_from(value).unwrap_or(i64::MAX)),
            _ => format::grouped(value),
        }
    }

    fn short(self, value: u64) -> String {
        match self {
            Self::Money => {
                let text = format::dollars(i64::try_from(value).unwrap_or(i64::MAX));
                // Of more than cents, no more digits than say something.
                let digits = text.split_once('.').map_or(0, |(_, below)| below.len());
                let noughts = text.len() - text.trim_end_matches('0').len();
                let cut = noughts.min(digits.saturating_sub(2));
                text[..text.len() - cut].to_owned()
            }
            _ => format::compact(value),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Money => "dollars",
            Self::Requests => "requests",
            Self::Users => "users",
        }
    }
}

/// One colour of a chart.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub name: String,
    /// One for each slot.
    pub values: Vec<u64>,
}

impl Series {
    fn total(&self) -> u64 {
        sum(&self.values)
    }
}

fn sum<'v>(values: impl IntoIterator<Item = &'v u64>) -> u64 {
    let values = values.into_iter();
    values.fold(0, |sum, value| sum.saturating_add(*value))
}

/// A chart.
pub(super) struct Chart {
    pub title: String,
    pub unit: Unit,
    /// Times, as they are told.
    pub slots: Vec<String>,
    pub series: Vec<Series>,
}

impl Chart {
    /// With the greatest series first, and those beyond the colours as one.
    fn arranged(&self) -> Vec<Series> {
        let mut series: Vec<Series> = self.series.clone();
        series.retain(|one| one.total() > 0);
        series.sort_by(|a, b| b.total().cmp(&a.total()).then(a.name.cmp(&b.name)));
        if series.len() > COLOURS {
            let rest = series.split_off(COLOURS - 1);
            let mut values = vec![0u64; self.slots.len()];
            for one in &rest {
                for (sum, value) in values.iter_mut().zip(&one.values) {
                    *sum = sum.saturating_add(*value);
                }
            }
            let name = format!("{} others", rest.len());
            series.push(Series { name, values });
        }
        series
    }

    /// The figure; nothing where all is zero.
    pub(super) fn draw(&self) -> Option<Markup> {
        let series = self.arranged();
        let height = |slot: usize| sum(series.iter().filter_map(|one| one.values.get(slot)));
        let heights: Vec<u64> = (0..self.slots.len()).map(height).collect();
        let most = heights.iter().copied().max().filter(|most| *most > 0)?;
        let top = ceiling(most);
        let bars = self.bars(&series, top);
        let last = self.slots.len().saturating_sub(1);
        // A user who is active on two days counts once.
        let total = match self.unit {
            Unit::Users => String::new(),
            unit => format!("{}, ", unit.show(sum(&heights))),
        };
        let summary = format!(
            "{}: {total}{} to {}, at most {} at once.",
            self.title,
            self.slots.first().map_or("", String::as_str),
            self.slots.last().map_or("", String::as_str),
            self.unit.show(most),
        );
        Some(html! {
            figure.chart {
                figcaption { (self.title) }
                div.plot {
                    div.scale aria-hidden="true" {
                        span { (self.unit.short(top)) }
                        span { (self.unit.short(top / 2)) }
                        span { "0" }
                    }
                    div.canvas {
                        svg role="img" aria-label=(summary) preserveAspectRatio="none"
                            viewBox={ "0 0 " (self.slots.len().max(1) * 10) " 1000" } { (bars) }
                    }
                    div.times aria-hidden="true" {
                        @for (nth, slot) in self.slots.iter().enumerate() {
                            @if nth == 0 || nth == last || (last > 4 && nth == last / 2) {
                                span { (slot) }
                            }
                        }
                    }
                }
                @if self.unit != Unit::Users { ul.legend {
                    @for (nth, one) in series.iter().enumerate() {
                        li {
                            span class={ "swatch s" (nth) } aria-hidden="true" {}
                            span.name { @if one.name.is_empty() { "unknown" } @else { (one.name) } }
                            span.sum { (self.unit.short(one.total())) }
                        }
                    }
                } }
                details.figures {
                    summary { "Figures" }
                    (self.table(&series))
                }
            }
        })
    }

    /// The rectangles: each slot is ten wide, the whole a thousand high.
    fn bars(&self, series: &[Series], top: u64) -> Markup {
        let mut below = vec![0u64; self.slots.len()];
        html! {
            @for (nth, one) in series.iter().enumerate() {
                @for (slot, value) in one.values.iter().copied().enumerate() {
                    @if value > 0 && slot < below.len() {
                        @let from = thousandths(below[slot], top);
                        @let to = thousandths(below[slot].saturating_add(value), top);
                        rect class={ "s" (nth) } x=(slot * 10 + 1) y=(1_000 - to)
                            width="8" height=((to - from).max(1)) {
                            title {
                                (self.slots[slot]) ", " (one.name) ": " (self.unit.show(value))
                            }
                        }
                        @let () = below[slot] = below[slot].saturating_add(value);
                    }
                }
            }
        }
    }

    fn table(&self, series: &[Series]) -> Markup {
        let caption = format!("{}, in {}", self.title, self.unit.name());
        let names: Vec<&str> = series.iter().map(|one| one.name.as_str()).collect();
        let columns = parts::words(&["Time (UTC)"]).numbers(&names);
        let rows = html! {
            @for (nth, slot) in self.slots.iter().enumerate() {
                tr {
                    th scope="row" { (slot) }
                    @for one in series {
                        td.n { (self.unit.show(one.values.get(nth).copied().unwrap_or(0))) }
                    }
                }
            }
        };
        parts::table(&caption, &columns, &rows)
    }
}

/// The next round number of which the half is a whole one, because the scale shows both: a digit and
/// zeros.
fn ceiling(value: u64) -> u64 {
    let mut power = 1u64;
    loop {
        let steps: &[u64] = if power == 1 {
            &[2, 4, 6, 8]
        } else {
            &[1, 2, 3, 4, 5, 6, 8]
        };
        for step in steps.iter().copied() {
            let round = power.saturating_mul(step);
            if round >= value {
                return round;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: Vec<Series>) -> Chart {
        Chart {
            title: "Tokens a day".to_owned(),
            unit: Unit::Tokens,
            slots: vec!["2026-11-24".to_owned(), "2026-11-25".to_owned()],
            series,
        }
    }

    fn series(name: &str, values: &[u64]) -> Series {
        Series {
            name: name.to_owned(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_reach_no_higher_than_the_scale() {
        let chart = chart(vec![series("a", &[10, 0]), series("b", &[30, 5])]);
        let bars = chart.bars(&chart.arranged(), 40).into_string();
        assert!(
            bars.contains(r#"class="s0" x="1" y="250" width="8" height="750""#),
            "{bars}"
        );
        assert!(
            bars.contains(r#"class="s1" x="1" y="0" width="8" height="250""#),
            "{bars}"
        );
        assert_eq!(bars.matches("<rect").count(), 3);
    }

    #[test]
    fn many_series_share_the_last_colour() {
        let many = (0..20).map(|nth| series(&format!("m{nth:02}"), &[nth + 1, 1]));
        let arranged = chart(many.collect()).arranged();
        assert_eq!(arranged.len(), COLOURS);
        assert_eq!(arranged[0].name, "m19");
        assert_eq!(arranged[6].name, "14 others");
        assert_eq!(arranged[6].values, [(1..=14).sum::<u64>(), 14]);
    }

    #[test]
    fn nothing_is_drawn_of_nothing_and_names_stay_text() {
        assert!(chart(vec![series("a", &[0, 0])]).draw().is_none());
        let drawn = chart(vec![series("\"><script>x</script>", &[1, 2])]).draw();
        let drawn = drawn.unwrap().into_string();
        assert!(
            !drawn.contains("<script") && !drawn.contains("\"><script"),
            "{drawn}"
        );
        assert!(drawn.contains("<table>") && drawn.contains("role=\"img\""));
    }

    #[test]
    fn amounts_on_the_scale_have_no_idle_noughts() {
        for (nano, text) in [
            (500_000_000, "$0.50"),
            (12_300_000, "$0.0123"),
            (2_000_000_000, "$2.00"),
            (0, "$0"),
        ] {
            assert_eq!(Unit::Money.short(nano), text);
        }
    }

    #[test]
    fn ceilings_are_round() {
        for (value, round) in [
            (1, 2),
            (3, 4),
            (5, 6),
            (7, 8),
            (9, 10),
            (11, 20),
            (45, 50),
            (61, 80),
        ] {
            assert_eq!(ceiling(value), round);
            assert_eq!(round % 2, 0, "the scale would show {} twice", round / 2);
        }
        assert!(ceiling(u64::MAX) == u64::MAX);
    }
}
