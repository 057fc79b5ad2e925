//! What usage costs: the price table, the rules by which a provider's models are priced, and
//! the sum for one request. Pure: nothing here reads a file or a clock.

mod book;
mod document;
mod glob;
mod local;
mod names;
mod prices;
mod settle;
mod used;

pub use book::{Book, Match, Row};
pub use document::{document, etag, pricing_of};
pub use glob::{BadPattern, Glob};
pub use prices::{Class, Prices, Quote};
pub use settle::{Cost, CostLine, settle};
pub use used::Terms;
