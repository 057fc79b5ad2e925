//! `/ui/users`: who is active.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::activity::{self, Lens};
use super::chart::{Chart, Series, Unit};
use super::period::Period;
use super::{Group, Page, Place, Query, mine};
use super::{Visit, breakdown, format, parts};
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_admins("/ui/users", |visit| Box::pin(page(visit)))
    .listed("Users", "users", Group::Activity);

/// What the widest window looks at before the day itself, in milliseconds.
const LOOK_BACK_MS: i64 = 6 * 86_400_000;

/// How many of the last days make a user an active one.
struct Window {
    /// In the address.
    name: &'static str,
    shown: &'static str,
    title: &'static str,
    /// Days that are looked at.
    days: usize,
    /// Those with requests, at least.
    least: usize,
}

const WINDOWS: [Window; 3] = [
    Window {
        name: "day",
        shown: "Daily",
        title: "Users active on a day",
        days: 1,
        least: 1,
    },
    Window {
        name: "week",
        shown: "Weekly",
        title: "Users active in the seven days before",
        days: 7,
        least: 1,
    },
    Window {
        name: "4of7",
        shown: "4 days of 7",
        title: "Users active on four of the seven days before",
        days: 7,
        least: 4,
    },
];

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let users = visit.sums(&lens.report("login")).await?;
    let groups = &users.groups;
    let filters = ["model", "agent", "provider", "header", "label", "via"];
    let body = html! {
        (activity::filter_bar(visit, &lens, &filters).await?)
        @if groups.is_empty() {
            (parts::empty("No requests in this time", &html! {
                "Send people to " code { (visit.origin) "/ui/setup" } "."
            }))
        } @else {
            @if !lens.period.by_hours { section.panel { (active(visit, &lens).await?) } }
            (breakdown::table(&lens, groups, &breakdown::LOGIN))
        }
    };
    Ok(Page::new("Users", body).actions(mine::period(&lens)).live())
}

/// Users that were active, over time.
async fn active(visit: &Visit<'_>, lens: &Lens) -> Result<Markup, Rejection> {
    let name = lens.query.get("window").unwrap_or("day");
    let window = WINDOWS.iter().find(|window| window.name == name);
    let window = window.unwrap_or(&WINDOWS[0]);
    // The first days look back at some before the chart's.
    let mut wider = lens.report("day,login");
    wider = wider.with("from", &format::rfc3339(lens.period.from - LOOK_BACK_MS));
    let Ok(daily) = visit.sums(&wider).await else {
        return Ok(parts::empty(
            "There are too many users and days for this chart",
            &html! { "Choose a shorter time." },
        ));
    };
    let mut by_day: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for group in &daily.groups {
        if let (Some(day), Some(login)) = (group.key.get("day"), group.key.get("login")) {
            by_day.entry(day).or_default().insert(login);
        }
    }
    let steps = lens.period.steps();
    let earlier = Period {
        from: lens.period.from - LOOK_BACK_MS,
        ..lens.period
    };
    let mut values = counted(&earlier.steps(), &by_day, window.days, window.least);
    values.drain(..values.len() - steps.len());
    let chart = Chart {
        title: window.title.to_owned(),
        unit: Unit::Users,
        slots: steps,
        series: vec![Series {
            name: "users".to_owned(),
            values,
        }],
    };
    let names = WINDOWS.map(|one| (one.name, one.shown));
    let choices = parts::views(&lens.query, &lens.path, "window", names, window.name);
    Ok(html! {
        div.chart-head { (parts::choice("When a user counts as active", &choices)) }
        @if let Some(figure) = chart.draw() { (figure) }
    })
}

/// For each day, the users with requests on at least `least` of the `days` up to it.
fn counted(
    steps: &[String],
    by_day: &BTreeMap<&str, BTreeSet<&str>>,
    days: usize,
    least: usize,
) -> Vec<u64> {
    let count = |last: usize| {
        let first = (last + 1).saturating_sub(days);
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for step in &steps[first..=last] {
            for login in by_day.get(step.as_str()).into_iter().flatten() {
                *seen.entry(login).or_default() += 1;
            }
        }
        seen.values().filter(|days| **days >= least).count() as u64
    };
    (0..steps.len()).map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_active_on_enough_of_the_last_days() {
        let steps: Vec<String> = (1..=5).map(|day| format!("d{day}")).collect();
        let by_day = BTreeMap::from([
            ("d1", BTreeSet::from(["a", "b"])),
            ("d2", BTreeSet::from(["a"])),
            ("d4", BTreeSet::from(["a", "c"])),
        ]);
        assert_eq!(counted(&steps, &by_day, 1, 1), [2, 1, 0, 2, 0]);
        assert_eq!(counted(&steps, &by_day, 3, 1), [2, 2, 2, 2, 2]);
        assert_eq!(counted(&steps, &by_day, 3, 2), [0, 1, 1, 1, 0]);
    }
}
