"""HTTP beside gRPC, on the same engine: an API of JSON, and a page. Needs polylens[http]."""
