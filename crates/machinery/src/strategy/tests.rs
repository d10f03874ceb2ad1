//! What holds for every kind and every body that fits its schema.

use jiff::Timestamp;
use serde_json::Value;

use crate::entropy::Entropy;
use crate::members::ensure;
use crate::registry::{Part, Registry, Resource, Subresource, apply_scale, scale_of};
use crate::schema::samples;

const ROUNDS: u64 = 60;

/// Calls `each` with random normalized bodies of every kind in its storage version.
fn for_every_kind(each: impl Fn(&Resource, Value, Value, u64)) {
    for resource in Registry::builtin().iter() {
        let schema = resource.storage().schema().unwrap();
        for seed in 0..ROUNDS {
            let entropy = Entropy::from_seed(seed);
            let draw = || {
                let mut body = samples::body(&schema, &entropy);
                let unknown = schema.check(&body);
                assert_eq!(unknown, Ok(Vec::new()), "{resource:?} seed {seed}");
                schema.normalize(&mut body);
                // The API server sees to it that there is metadata.
                ensure(&mut body, "metadata");
                body
            };
            each(resource, draw(), draw(), seed);
        }
    }
}

#[test]
fn no_body_makes_a_rule_panic() {
    let now = Timestamp::UNIX_EPOCH;
    for_every_kind(|resource, mut new, mut old, _| {
        let strategy = &resource.strategy;
        for object in [&mut new, &mut old] {
            strategy.defaults(object);
            strategy.prepare_create(object);
            strategy.validate_create(object);
        }
        for part in [
            Part::Main,
            Part::Status,
            Part::EphemeralContainers,
            Part::Resize,
            Part::Finalize,
        ] {
            let mut new = new.clone();
            strategy.prepare_update(&mut new, &old, part);
            strategy.validate_update(&new, &old, part);
        }
        strategy.warnings(&new);
        strategy.grace_seconds(&new, None);
        assert!(!strategy.selectable_fields(&new).is_empty());
        assert_eq!(strategy.cells(&new, now).len(), strategy.columns().len());
        for sub in &resource.subresources {
            if let Subresource::Scale(paths) = sub {
                let scale = scale_of(paths, &new);
                apply_scale(paths, &mut new, &scale);
            }
        }
    });
}

#[test]
fn defaults_applied_twice_are_the_same() {
    for_every_kind(|resource, mut body, _, seed| {
        resource.strategy.defaults(&mut body);
        let once = body.clone();
        resource.strategy.defaults(&mut body);
        assert_eq!(body, once, "{resource:?} seed {seed}");
    });
}

#[test]
fn defaults_fit_the_schema_and_are_in_normal_form() {
    for_every_kind(|resource, mut body, _, seed| {
        resource.strategy.defaults(&mut body);
        resource.strategy.prepare_create(&mut body);
        let schema = resource.storage().schema().unwrap();
        assert_eq!(
            schema.check(&body),
            Ok(Vec::new()),
            "{resource:?} seed {seed}"
        );
    });
}

#[test]
fn a_write_that_changes_nothing_is_valid_whenever_the_object_was() {
    for_every_kind(|resource, mut body, _, seed| {
        let strategy = &resource.strategy;
        strategy.defaults(&mut body);
        strategy.prepare_create(&mut body);
        let old = body.clone();
        strategy.defaults(&mut body);
        strategy.prepare_update(&mut body, &old, Part::Main);
        assert_eq!(body, old, "{resource:?} seed {seed}");
        if strategy.validate_create(&old).is_empty() {
            let faults = strategy.validate_update(&body, &old, Part::Main);
            assert_eq!(faults, [], "{resource:?} seed {seed}");
        }
    });
}

#[test]
fn every_served_version_of_an_object_fits_its_schema() {
    for_every_kind(|resource, mut body, _, seed| {
        resource.strategy.defaults(&mut body);
        let body = resource.storage().to_storage(resource, body);
        for served in &resource.served {
            let shown = served.from_storage(resource, body.clone());
            let schema = served.schema().unwrap();
            assert_eq!(
                schema.check(&shown),
                Ok(Vec::new()),
                "{resource:?} in {} seed {seed}",
                served.api_version()
            );
        }
    });
}
