//! What Prometheus gets to read.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::support::helia::random_bytes;
use crate::support::{Desk, Node, eventually, text};

fn scrape(node: &Node) -> String {
    let address = node.ready["metrics"].as_str().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("application/openmetrics-text"),
        "{answer}"
    );
    answer
}

#[test]
fn the_ledger_is_in_the_metrics_of_a_node_that_is_asked_to_serve_them() {
    let desk = Desk::new();
    let giver = Node::start_with(&desk.path("a"), &["--metrics", "127.0.0.1:0"]);
    let taker = Node::start_with(&desk.path("b"), &["--metrics", "127.0.0.1:0"]);
    taker.meet(&giver);
    let added = giver.ask(&["artifact", "add", &desk.file("file", random_bytes(300_000, 1))]);
    taker.ask(&["artifact", "get", text(&added, "cid")]);
    for (node, other, way) in [(&giver, &taker, "sent"), (&taker, &giver, "received")] {
        let peer = text(&other.ready, "peer_id");
        let total = format!("zerostate_bitswap_bytes_total{{direction=\"{way}\"}} 300000\n");
        let of_peer =
            format!("zerostate_bitswap_peer_blocks_total{{direction=\"{way}\",peer_id=\"{peer}\"}} 1\n");
        eventually("the ledger is in the metrics", || {
            let scraped = scrape(node);
            (scraped.contains(&total) && scraped.contains(&of_peer)).then_some(())
        });
        let scraped = scrape(node);
        assert!(scraped.contains("\nzerostate_peers 1\n") && scraped.contains("# EOF\n"), "{scraped}");
    }
    // A port that is taken is said, and the node does not start.
    let taken = giver.ready["metrics"].as_str().unwrap();
    let refused = Node::try_start(&desk.path("c"), &["--metrics", taken]).err().unwrap();
    assert!(refused.0 == Some(1) && refused.1.contains("cannot serve metrics on"), "{refused:?}");
}
