//! A connection to the server that takes writes.
//!
//! A URL can name several hosts, and a name can have several addresses. All of them are tried side
//! by side, one after a short while and at once where the one before has failed, so that a host that
//! does not answer holds up none of the others. After a failover, several servers answer: one that
//! takes no writes is passed over.
//!
//! Some poolers give a client another connection to the server with every transaction. What is set
//! for a session would then hold for other clients, and what was prepared would be gone. Such a
//! pooler is found by a random setting in the start of the connection: only a server that the
//! connection really reaches knows it.

use super::explain;
use crate::records::{Failure, Refusal};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

/// Waits for a connection, name resolution and TLS included, where the URL has no `connect_timeout`.
const CONNECT: Duration = Duration::from_secs(10);

/// The next host or address is tried after this long, while the one before has not answered.
const APART: Duration = Duration::from_millis(250);

/// What holds for a whole session. Compiled plans cost more than our queries do.
const SETTINGS: &str =
    "-c jit=off -c statement_timeout=25s -c idle_in_transaction_session_timeout=60s";

/// The same for a transaction, where a session is not ours alone. A commit that a crash of the
/// server could take back is no commit, whatever the server's default.
pub(super) const LOCAL_SETTINGS: &str = "SET LOCAL jit = off; SET LOCAL statement_timeout = '25s'; \
    SET LOCAL idle_in_transaction_session_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', true) \
    WHERE current_setting('synchronous_commit') = 'off'";

/// What sends and receives for a client, while it is polled. It ends when the connection does.
pub(super) type Driver = BoxFuture<'static, ()>;

/// Runs `work`, and meanwhile the connection that it is on. What `work` asks for before it waits is sent
/// together.
pub(super) async fn drive<T>(driver: &mut Driver, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let done = work.as_mut().poll(context);
        if done.is_pending() {
            // Its end wakes `work`, whose answers have no sender any more.
            let _ = driver.poll_unpin(context);
        }
        done
    })
    .await
}

/// A connection that can be used.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) driver: Driver,
    /// Whether each transaction may run in another session of the server.
    pub(super) is_pooled: bool,
}

/// Why an address can't be used.
struct Refused {
    /// Host and port.
    at: String,
    why: String,
    refusal: Refusal,
}

/// Connects to the first server that takes writes.
pub(super) async fn connect(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
) -> Result<Connected, Failure> {
    let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT);
    let refused = RefCell::new(Vec::new());
    let mut hosts = hosts(config);
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random && hosts.len() > 1 {
        let first = getrandom::u32().unwrap_or_default() as usize % hosts.len();
        hosts.rotate_left(first);
    }
    let attempts = hosts
        .iter()
        .map(|host| connect_host(config, tls, host, &refused));
    let won = tokio::time::timeout(limit, race(attempts.collect())).await;
    if let Ok(Some(connected)) = won {
        return Ok(connected);
    }
    let mut refused = refused.into_inner();
    if won.is_err() {
        let why = Failure::Timeout(limit).to_string();
        refused.push(Refused {
            at: "the others".to_owned(),
            why,
            refusal: Refusal::Other,
        });
    }
    Err(failure(&refused))
}

fn failure(refused: &[Refused]) -> Failure {
    let why = match refused {
        [only] => only.why.clone(),
        several => {
            let all = several.iter().map(|one| format!("{}: {}", one.at, one.why));
            all.collect::<Vec<_>>().join("; ")
        }
    };
    let refusal = refused.iter().map(|one| one.refusal).min();
    Failure::Unreachable {
        why,
        refusal: refusal.unwrap_or(Refusal::Other),
    }
}

/// A host of the URL: its name, its address where the URL gives it, and its port.
struct Target {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: u16,
}

fn hosts(config: &Config) -> Vec<Target> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let places = (0..hosts.len().max(addresses.len())).map(|nth| Target {
        host: hosts.get(nth).cloned(),
        address: addresses.get(nth).copied(),
        port: *ports.get(nth).or(ports.first()).unwrap_or(&5432),
    });
    places.collect()
}

/// Runs `attempts` until one has a result: each begins a while after the one before, or when that
/// one is over.
async fn race<T>(attempts: VecDeque<impl Future<Output = Option<T>>>) -> Option<T> {
    let mut waiting = attempts;
    let mut running = FuturesUnordered::new();
    running.extend(waiting.pop_front());
    loop {
        tokio::select! {
            done = running.next(), if !running.is_empty() => match done {
                Some(Some(won)) => return Some(won),
                _ => running.extend(waiting.pop_front()),
            },
            () = tokio::time::sleep(APART), if !waiting.is_empty() => {
                running.extend(waiting.pop_front());
            }
            else => return None,
        }
    }
}

/// Tries all addresses of a host, and notes why each can't be used.
async fn connect_host(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
    place: &Target,
    refused: &RefCell<Vec<Refused>>,
) -> Option<Connected> {
    let port = place.port;
    let addresses: Vec<Option<IpAddr>> = match (&place.address, &place.host) {
        (Some(address), _) => vec![Some(*address)],
        (None, Some(Host::Tcp(name))) => match tokio::net::lookup_host((name.as_str(), port)).await
        {
            Ok(found) => found.map(|address| Some(address.ip())).collect(),
            Err(error) => {
                refused.borrow_mut().push(Refused {
                    at: name.clone(),
                    why: format!("its name can't be resolved: {error}"),
                    refusal: Refusal::Other,
                });
                Vec::new()
            }
        },
        _ => vec![None],
    };
    let attempts = addresses.into_iter().map(async |address| {
        let at = match (&place.host, address) {
            (_, Some(address)) => std::net::SocketAddr::new(address, port).to_string(),
            (Some(Host::Unix(path)), None) => path.display().to_string(),
            (_, None) => port.to_string(),
        };
        match connect_one(config, tls, place, address).await {
            Ok(connected) => Some(connected),
            Err((why, refusal)) => {
                refused.borrow_mut().push(Refused { at, why, refusal });
                None
            }
        }
    });
    race(attempts.collect()).await
}

async fn connect_one(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
    place: &Target,
    address: Option<IpAddr>,
) -> Result<Connected, (String, Refusal)> {
    let mut plain = without_hosts(config);
    match &place.host {
        Some(Host::Tcp(name)) => plain.host(name),
        Some(Host::Unix(path)) => plain.host_path(path),
        None => &mut plain,
    };
    if let Some(address) = address {
        plain.hostaddr(address);
    }
    plain.port(place.port);
    let mark = getrandom::u64().unwrap_or_default();
    let mut marked = plain.clone();
    let own = config.get_options().unwrap_or_default();
    marked.options(format!("{own} {SETTINGS} -c iris.session={mark:016x}"));
    let failed = |error: tokio_postgres::Error| (explain(&error), refusal(&error));
    let client = match open(&marked, tls).await {
        Err(error) if refuses_options(&error) => open(&plain, tls).await,
        done => done,
    };
    let (client, mut driver) = client.map_err(failed)?;
    let mark = format!("{mark:016x}");
    let inspected = drive(&mut driver, inspect(&client, &mark)).await;
    let (is_pooled, refused) = inspected.map_err(failed)?;
    match refused {
        Some(why) => Err((why.to_owned(), Refusal::ReadOnly)),
        None => Ok(Connected {
            client,
            driver,
            is_pooled,
        }),
    }
}

async fn open(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
) -> Result<(Client, Driver), tokio_postgres::Error> {
    Ok(if let Some(tls) = tls {
        let (client, connection) = config.connect(tls.clone()).await?;
        (client, connection.map(drop).fuse().boxed())
    } else {
        let (client, connection) = config.connect(NoTls).await?;
        (client, connection.map(drop).fuse().boxed())
    })
}

/// Whether the session is not ours alone, and why the server takes no writes if it takes none.
async fn inspect(
    client: &Client,
    mark: &str,
) -> Result<(bool, Option<&'static str>), tokio_postgres::Error> {
    let own = format!("COALESCE(current_setting('iris.session', true), '') = '{mark}'");
    let sql = format!(
        "SELECT {own}, pg_is_in_recovery(), current_setting('transaction_read_only'), \
         CASE WHEN {own} AND current_setting('synchronous_commit') = 'off' \
             THEN set_config('synchronous_commit', 'on', false) END"
    );
    let answer = client.simple_query(&sql).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let is = |nth: usize, wanted: &str| row.is_some_and(|row| row.get(nth) == Some(wanted));
    let refused = if is(1, "t") {
        Some("it is a standby, which takes no writes")
    } else if is(2, "on") {
        Some("it accepts no writes right now (default_transaction_read_only is on)")
    } else {
        None
    };
    Ok((!is(0, "t"), refused))
}

/// Everything but where the server is.
fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(database) = config.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding());
    one
}

/// Whether a server, or what stands in front of it, does not take our settings at the start.
fn refuses_options(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        // Protocol violation, not supported, no such setting, invalid value, not permitted.
        ["08P01", "0A000", "42704", "22023", "42501"].contains(&code.code())
    })
}

/// What kind of refusal an error at the start is.
fn refusal(error: &tokio_postgres::Error) -> Refusal {
    let Some(error) = error.as_db_error() else {
        return Refusal::Other;
    };
    // PgBouncer has one code for everything that it says by itself.
    let is_full = ["no more connections allowed", "too many"]
        .iter()
        .any(|words| error.message().contains(words));
    match error.code().code() {
        "53300" => Refusal::Full,
        "08P01" if is_full => Refusal::Full,
        "57P03" => Refusal::Starting,
        "25006" => Refusal::ReadOnly,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_holds_up_none_of_the_others() {
        let attempt = async |takes: u64, result: Option<u32>| {
            tokio::time::sleep(Duration::from_millis(takes)).await;
            result
        };
        let hangs = 1_000_000;
        for (attempts, expected, ms) in [
            (vec![(hangs, None), (10, Some(1))], Some(1), 260),
            (vec![(5, None), (hangs, None), (10, Some(2))], Some(2), 265),
            // The first that answers wins, also over those before.
            (vec![(400, Some(1)), (10, Some(2))], Some(2), 260),
            (vec![(5, None), (5, None)], None, 10),
            (vec![], None, 0),
        ] {
            let began = tokio::time::Instant::now();
            let attempts = attempts
                .into_iter()
                .map(|(takes, result)| attempt(takes, result));
            assert_eq!(race(attempts.collect()).await, expected);
            // The clock of a test goes in whole milliseconds.
            let took = began.elapsed().as_millis();
            assert!((ms..=ms + 4).contains(&took), "{took} for {ms}");
        }
    }

    #[test]
    fn hosts_have_their_own_ports_and_addresses() {
        let places = |url: &str| -> Vec<(Option<IpAddr>, u16)> {
            let config: Config = url.parse().unwrap();
            let places = hosts(&config).into_iter();
            places.map(|place| (place.address, place.port)).collect()
        };
        let local = Some("127.0.0.1".parse().unwrap());
        assert_eq!(
            places("postgres://u@a:1,b:2/d?hostaddr=127.0.0.1,127.0.0.1"),
            [(local, 1), (local, 2)]
        );
        assert_eq!(places("postgres://u@a,b/d"), [(None, 5432), (None, 5432)]);
    }

    #[test]
    fn everything_but_the_hosts_is_kept() {
        let url = "postgres://u:p@a:1,b:2/d?application_name=n&options=-c%20a.b%3D1\
            &keepalives_idle=7&keepalives_interval=8&keepalives_retries=9&tcp_user_timeout=5\
            &sslmode=require&channel_binding=disable&connect_timeout=3";
        let config: Config = url.parse().unwrap();
        let mut one = without_hosts(&config);
        assert!(one.get_hosts().is_empty());
        one.host("a").host("b").port(1).port(2);
        one.connect_timeout(Duration::from_secs(3));
        assert!(one == config);
    }

    #[test]
    fn the_kind_that_decides_what_to_do_is_told_of_several() {
        let refused = |refusal| Refused {
            at: "h:1".to_owned(),
            why: "w".to_owned(),
            refusal,
        };
        let several = [Refusal::Other, Refusal::ReadOnly, Refusal::Full].map(refused);
        let Failure::Unreachable { why, refusal } = failure(&several) else {
            panic!("of another kind");
        };
        assert_eq!(
            (why.as_str(), refusal),
            ("h:1: w; h:1: w; h:1: w", Refusal::Full)
        );
        assert_eq!(failure(&several[..1]).to_string(), "w");
    }
}
