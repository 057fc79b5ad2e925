//! Small signs beside the names of pages, as lines on a grid of sixteen.

use maud::{Markup, html};

/// A sign by its name; nothing for one that isn't known.
pub(super) fn icon(name: &str) -> Markup {
    let line = match name {
        "usage" => "M2 13h12M4 10V7M8 10V3M12 10V5",
        "chat" => "M3 3h10v8H8l-3 3v-3H3z",
        "models" => "M8 2l5.5 3v6L8 14l-5.5-3V5zM2.5 5L8 8l5.5-3M8 8v6",
        "setup" => "M5 4L1.5 8 5 12M11 4l3.5 4L11 12M9.2 3L6.8 13",
        "sessions" => "M3 3.5h10M3 8h10M3 12.5h6",
        "requests" => "M2 5h9M8 2l3 3-3 3M14 11H5M8 8l-3 3 3 3",
        "overview" => "M2 2h5v5H2zM9 2h5v3H9zM9 7h5v7H9zM2 9h5v5H2z",
        "users" => {
            "M6 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c.5-3 2-4 4.5-4s4 1 4.5 4M11 3.2a2.3 2.3 0 0 1 0 4.5M12.5 9.8c1.2.6 1.8 1.8 2 3.7"
        }
        "agents" => "M2 3h12v10H2zM4.5 6l2 2-2 2M8.5 10h3",
        "providers" => "M3 2.5h10v4H3zM3 9.5h10v4H3zM5.5 4.5h.01M5.5 11.5h.01",
        "tools" => {
            "M10 2a3.5 3.5 0 0 0-3 5.2L2.5 11.7l1.8 1.8L8.8 9A3.5 3.5 0 0 0 13.5 4.5L11 7 9 5l2.5-2.5A3.5 3.5 0 0 0 10 2z"
        }
        "grants" => {
            "M8 1.5l5.5 2v4.5c0 3-2 5.2-5.5 6.5-3.5-1.3-5.5-3.5-5.5-6.5V3.5zM5.5 8l2 2 3.5-4"
        }
        "guardrails" => "M2 14V6l2-2 2 2v8M10 14V6l2-2 2 2v8M1 8.5h14M1 12h14",
        "budgets" => {
            "M8 1.5v13M11 4.5C10.5 3.5 9.5 3 8 3 6 3 5 4 5 5.3 5 8.5 11 7 11 10.4 11 12 9.8 13 8 13c-1.8 0-3-.8-3.3-2"
        }
        "config" => "M2 4.5h6M11 4.5h3M2 11.5h3M8 11.5h6M9.5 3v3M6.5 10v3",
        "exports" => "M8 10V2M5 5l3-3 3 3M2.5 10v3.5h11V10",
        "audit" => "M4 1.5h6l3 3v10H4zM6.5 8h4M6.5 11h4M6.5 5h1.5",
        "connection" => {
            "M6.2 9.8l3.6-3.6M7.2 4.6l1.7-1.7a2.9 2.9 0 0 1 4.2 4.2l-1.7 1.7M8.8 11.4l-1.7 1.7a2.9 2.9 0 0 1-4.2-4.2l1.7-1.7"
        }
        "api" => {
            "M5 2C3.5 2 3.5 3 3.5 5S3 8 2 8c1 0 1.5 1 1.5 3S3.5 14 5 14M11 2c1.5 0 1.5 1 1.5 3S13 8 14 8c-1 0-1.5 1-1.5 3s0 3-1.5 3"
        }
        "search" => "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7L14 14",
        _ => return html! {},
    };
    html! {
        svg.icon viewBox="0 0 16 16" aria-hidden="true" focusable="false" { path d=(line) {} }
    }
}
