//! A receipt like those of real tasks, for the benches that need some.

use std::time::Duration;

use zerostate::document::{Artifact, Content, Cost, Environment, Receipt, Sha256Digest, Status, content_id};
use zerostate::identity::Identity;

pub fn receipt(identity: &Identity, task_id: String) -> Receipt {
    let module = Sha256Digest::of(b"module");
    let now: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a timestamp");
    Receipt {
        task_id,
        manifest: content_id(b"manifest"),
        artifact: Artifact { cid: module.to_cid(), sha256: module, size: 22_891 },
        inputs: Content::of(b""),
        output: Content::of(b"Hello, zerostate!\n"),
        guild: None,
        agreement: None,
        executor: identity.did().clone(),
        requester: identity.did().clone(),
        status: Status::Ok,
        exit_code: Some(0),
        error: None,
        started_at: now,
        finished_at: now + Duration::from_millis(80),
        duration_ns: 80_000_000,
        fuel_used: 1_204_551,
        peak_memory_bytes: 2 << 20,
        cost: Cost::default(),
        environment: Environment {
            engine: "wasmtime".into(),
            version: "48.0.8".into(),
            settings_sha256: module,
            target: "x86_64-unknown-linux-gnu".into(),
        },
        nonce: "fedcba9876543210fedcba9876543210".into(),
    }
}
