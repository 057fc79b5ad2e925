//! The buckets of budgets and limits: those that pay for the reader, and for admins all.

use std::collections::HashMap;

use maud::{Markup, html};

use super::{Group, Page, Place, Visit, format, parts};
use crate::base::bucket::Unit;
use crate::policy::budget::State;
use crate::web::api::budgets::list::{self, Quota};
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_everyone("/ui/budgets", |visit| Box::pin(page(visit)))
    .listed("Budgets", "budgets", Group::Gateway);

/// The reader's own, for the page of their usage; nothing if there are none.
pub(super) async fn own(visit: &Visit<'_>) -> Result<Markup, Rejection> {
    let all = list::seen(&visit.reader).await?;
    let own = all.iter().filter(|quota| quota.yours);
    let own: Vec<&State> = own.map(|quota| &quota.state).collect();
    Ok(html! {
        @if !own.is_empty() {
            section {
                h2 { "Budgets" }
                div.budgets { @for state in own { (small(state)) } }
            }
        }
    })
}

fn small(state: &State) -> Markup {
    html! {
        div.panel.budget {
            p { b { (state.bucket) } span.n { (amount(state.unit, state.current)) " left" } }
            (left(state))
            p.note {
                "of " (amount(state.unit, state.capacity))
                @if let Some(rate) = &state.rate { ", refills " (rate) }
                @if let Some(seconds) = state.full_in.filter(|seconds| *seconds > 0) {
                    ", full in " (format::seconds(seconds))
                }
            }
        }
    }
}

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let all = list::seen(&visit.reader).await?;
    let is_admin = visit.reader.is_admin();
    let columns = parts::words(&["Budget"])
        .numbers(&["Left"])
        .words(&["Left, as a share"])
        .numbers(&["Held", "Capacity"])
        .words(&["Refill", "Full in"])
        .words(&[if is_admin {
            "Refill by hand"
        } else {
            "Pays for"
        }]);
    let mut called: HashMap<&str, usize> = HashMap::new();
    for Quota { state, .. } in &all {
        *called.entry(state.bucket.as_str()).or_default() += 1;
    }
    // A user and a device may have one name, and so may several users.
    let is_alone = |state: &State| called.get(state.bucket.as_str()) == Some(&1);
    let rows = html! {
        @for Quota { state, yours } in &all {
            tr {
                th scope="row" {
                    (state.bucket)
                    @if is_admin && !is_alone(state) { " " code { (state.key) } }
                    @if *yours { " " (parts::badge(parts::Tone::Accent, "pays for you")) }
                }
                td.n { @if state.current < 0 { span.bad { (amount(state.unit, state.current)) } } @else { (amount(state.unit, state.current)) } }
                td.share { (left(state)) }
                td.n { (amount(state.unit, state.held)) }
                td.n { (amount(state.unit, state.capacity)) }
                td { (parts::maybe(state.rate.clone())) }
                td { @if state.full_in == Some(0) { "full" } @else { (parts::maybe(state.full_in.map(format::seconds))) } }
                td { @if is_admin { (refill(state, is_alone(state))) } @else { "you" } }
            }
        }
    };
    let body = html! {
        @if all.is_empty() {
            (parts::empty("There are no budgets", &html! {
                "The section " code { "quotas" } " of the configuration defines budgets, and grants assign them to callers."
            }))
        } @else {
            (parts::table("Budgets and limits", &columns, &rows))
            @if is_admin {
                p.under { "A budget is listed once it has been used, or if it pays for you. Refills are recorded in the audit log." }
            }
        }
    };
    Ok(Page::new("Budgets", body).scripts(&["admin.js"]))
}

/// A form that its script sends; without the script there is nothing to send it with.
fn refill(state: &State, is_alone: bool) -> Markup {
    let name = if is_alone { &state.bucket } else { &state.key };
    let example = match state.unit {
        Unit::Money => "$5.00",
        _ => "100",
    };
    let label = format!("Amount for {}", state.bucket);
    html! {
        form.refill data-refill=(name) hidden {
            input name="amount" size="8" placeholder=(example) aria-label=(label) required autocomplete="off";
            button type="submit" { "Add" }
        }
    }
}

fn left(state: &State) -> Markup {
    let whole = |amount: i64| amount.max(0).cast_unsigned();
    parts::bar(whole(state.current), whole(state.capacity), tone(state))
}

fn tone(state: &State) -> &'static str {
    let tenth = state.capacity / 10;
    if state.current <= 0 {
        "bad"
    } else if state.current < state.warn_below.max(tenth) {
        "warn"
    } else {
        ""
    }
}

fn amount(unit: Unit, amount: i64) -> String {
    let plain = |one, many| {
        let sign = if amount < 0 { "−" } else { "" };
        format!("{sign}{}", format::count(amount.unsigned_abs(), one, many))
    };
    match unit {
        Unit::Money if amount == 0 => "$0.00".to_owned(),
        Unit::Money => format::dollars(amount),
        Unit::Requests => plain("request", "requests"),
        Unit::Tokens => plain("token", "tokens"),
        Unit::Parallel => plain("at once", "at once"),
    }
}
