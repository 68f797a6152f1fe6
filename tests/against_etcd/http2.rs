//! HTTP/2 requests with unusual pseudo-headers and header fields.
