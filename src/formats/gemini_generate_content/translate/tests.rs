mod requests;
mod responses;
mod sent;
mod written;
