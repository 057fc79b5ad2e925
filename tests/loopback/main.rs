//! The gateway on loopback: faults that no real provider makes on request, the bytes that cross the
//! gateway, and the command line.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program of its own, whose helpers fail as its tests do"
)]

mod agents;
mod api;
mod attached;
mod azure;
mod background;
mod batches;
mod cache;
mod charged;
mod chats;
mod commands;
mod compressed;
mod cors;
mod demo_tour;
mod direct;
mod discovery;
mod doctor;
mod endings;
mod estimates;
mod faults;
mod formats_anthropic;
mod formats_bedrock;
mod formats_google;
mod formats_ollama;
mod formats_openai;
mod gemini_batches;
mod guard_texts;
mod guardrails;
mod h2_provider;
mod headers;
mod health;
mod held;
mod hooks;
mod http2;
mod init;
mod init_providers;
mod init_services;
mod kept_connections;
mod keys;
mod lab;
mod labels;
mod lists;
mod live;
mod logs;
mod loops;
mod management;
mod manual;
mod message_batches;
mod metering;
mod oversight;
mod own_credentials;
mod prices;
mod process;
mod program;
mod proxies;
mod quotas;
mod realtime;
mod realtime_gemini;
mod realtime_money;
mod refusals;
mod relayed_batches;
mod relayed_messages;
mod relayed_restarts;
mod requests;
mod rotation;
mod routing;
mod saves;
mod sdk_routes;
mod sessions;
mod shapes;
mod sockets;
mod spared;
mod speaking;
mod starts;
mod stored;
mod stored_items;
mod tls;
mod token_counts;
mod told;
mod trailers;
mod translation;
mod translation_answers;
mod translation_pairs;
mod translation_sockets;
mod unwritable;
mod usage;
mod waiting;
mod warnings;
mod websocket;
mod websocket_keys;
mod withdrawn;

support::library_gateway!();
