//! Requests as no library sends them, of HTTP/1 (`cases.txt`) and HTTP/2 (`http2.txt`), and a
//! provider that writes down what reaches it.

pub mod cases;
pub mod frames;
pub mod http2;
pub mod provider;
