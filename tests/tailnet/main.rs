//! The gateway on a real tailnet, against real inference.
#![expect(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that reports to whoever runs it"
)]

mod browser;
mod changes;
#[path = "../pages/browser.rs"]
mod chromium;
mod host;
mod http;
mod identity;
mod life;
mod lifecycle;
mod machine;
mod measure;
mod node;
mod parts;
#[path = "../../benches/gateway/provider.rs"]
mod provider;
mod providers;
mod scenarios;
mod service;
#[path = "../tally/mod.rs"]
mod tally;
mod world;

use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Instant;

use parts::Parts;
use tally::Tally;
use world::World;

/// Has nodes reach the relay, which is Headscale's own, as everything of Headscale's here: without
/// TLS. Go reads it when the program starts.
const PLAIN_RELAY: &str = "TS_DEBUG_USE_DERP_HTTP";

fn main() -> ExitCode {
    if std::env::var_os(PLAIN_RELAY).is_none() {
        let program = std::env::current_exe().expect("this program");
        let error = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(PLAIN_RELAY, "1")
            .exec();
        eprintln!("this program can't be run once more: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(run()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the tailnet could not be set up: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all scenarios, one after the other, on one tailnet. A word on the command line
/// selects those whose names contain it.
async fn run() -> anyhow::Result<ExitCode> {
    // `IRIS_LOG=iris::net::tailnet=trace` shows what the nodes say.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("IRIS_LOG"))
        .with_writer(std::io::stderr)
        .init();
    if std::env::args().any(|argument| argument == host::INSIDE) {
        host::inside(&Parts::prepare()?).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let only = std::env::args()
        .nth(1)
        .filter(|word| !word.starts_with('-'));
    let parts = Parts::prepare()?;
    let started = Instant::now();
    let world = World::start(&parts).await?;
    eprintln!(
        "a tailnet of six nodes stands after {:.1?}",
        started.elapsed()
    );
    if only.as_deref() == Some("measure") {
        measure::run(&parts, &world).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut tally = Tally::default();
    macro_rules! scenarios {
        ($($module:ident::$name:ident)*) => {$(
            if only.as_ref().is_none_or(|word| stringify!($name).contains(word.as_str())) {
                let began = Instant::now();
                let outcome = $module::$name(&parts, &world).await.map_err(|error| {
                    format!("{error:#}\nthe gateway's log:\n{}", world.gateway.process.log())
                });
                tally.end(stringify!($name), began.elapsed(), outcome);
            }
        )*};
    }
    scenarios! {
        scenarios::a_colleague_gets_an_answer
        scenarios::streams_are_metered_like_the_server_counts
        scenarios::others_are_refused_as_documented
        scenarios::headers_sent_by_hand_change_nothing
        scenarios::requests_that_can_be_read_in_two_ways_are_refused
        scenarios::a_caller_who_leaves_stops_the_generation
        changes::a_withdrawn_grant_takes_effect_within_a_second
        changes::a_withdrawn_grant_cuts_a_stream
        changes::a_new_configuration_takes_effect_under_load
        changes::budgets_guards_and_hooks_of_the_policy_act
        changes::the_control_server_may_be_away
        scenarios::the_openai_sdk_works_through_tailscaled
        lifecycle::the_gateway_stops_and_comes_back_as_the_same_node
        lifecycle::a_restart_is_short_and_keeps_the_node
        providers::a_provider_that_is_gone_costs_no_request
        node::half_closes_resets_and_backpressure_pass
        node::whois_tells_what_the_tailnet_knows
        identity::ten_thousand_connections_are_their_own_callers
        identity::whoever_may_no_longer_call_is_cut_off
        lifecycle::a_gateway_without_a_key_asks_to_be_signed_in
        lifecycle::a_person_at_a_terminal_is_led_to_the_first_answer
        lifecycle::an_ephemeral_node_leaves_nothing_behind
        life::a_refused_key_is_said_with_the_control_servers_words
        life::a_control_server_that_can_not_be_talked_to_is_named
        life::an_expired_node_is_offered_a_link
        life::a_deleted_node_joins_again
        life::another_key_of_the_control_server_is_learned
        life::a_node_with_another_name_has_an_alert
        life::damaged_state_is_named
        life::a_provider_on_the_tailnet_is_reached_there_or_not_at_all
        life::an_unreadable_capability_is_logged_once
        life::callers_are_refused_once_the_map_is_too_old
        browser::people_in_browsers_are_known_and_safe
        service::the_unit_runs_with_all_its_restrictions
        service::an_installed_service_joins_with_a_link_or_a_key
        host::host_mode_uses_the_machines_own_tailscaled
    }
    Ok(tally.close())
}
