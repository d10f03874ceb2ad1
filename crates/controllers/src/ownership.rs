//! Who controls an object, and which objects a controller takes or gives up.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::{Selector, SelectorExt};

/// The owner that controls an object, if any.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references
        .as_ref()?
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// True when the object is controlled by the owner with this uid.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid)
}

/// The reference by which `owner` controls what it creates.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A selector that can be asked; `None` for one that cannot be understood.
pub(crate) fn selector(selector: &LabelSelector) -> Option<Selector> {
    Selector::try_from(selector.clone()).ok()
}

/// True when the selector matches the object's labels.
pub(crate) fn matches(selector: &Selector, meta: &ObjectMeta) -> bool {
    meta.labels.as_ref().map_or_else(
        || selector.matches(&std::collections::BTreeMap::new()),
        |labels| selector.matches(labels),
    )
}

/// What a controller does about an object it could own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is the controller's.
    Keep,
    /// It has no controller and matches: take it.
    Adopt,
    /// It is the controller's and does not match any more: give it up.
    Release,
    /// It is none of the controller's business.
    Ignore,
}

/// Decides about `object` for the controller `owner` with this selector.
pub(crate) fn claim(owner: &ObjectMeta, selector: &Selector, object: &ObjectMeta) -> Claim {
    let owner_leaves = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches(selector, object) => Claim::Keep,
        Some(_) if owner_leaves || object.deletion_timestamp.is_some() => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner_leaves || object.deletion_timestamp.is_some() => Claim::Ignore,
        None if owner.namespace == object.namespace && matches(selector, object) => Claim::Adopt,
        None => Claim::Ignore,
    }
}

/// The owner references after `claim`; `None` if they stay as they are.
pub(crate) fn owners_after(
    claim: Claim,
    owner: &OwnerReference,
    object: &ObjectMeta,
) -> Option<Vec<OwnerReference>> {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    match claim {
        Claim::Keep | Claim::Ignore => return None,
        Claim::Adopt => {
            owners.retain(|other| other.uid != owner.uid);
            owners.push(owner.clone());
        }
        Claim::Release => owners.retain(|other| other.uid != owner.uid),
    }
    Some(owners)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn object(app: &str, controller: Option<&str>, leaving: bool) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("default".to_owned()),
            labels: Some(BTreeMap::from([("app".to_owned(), app.to_owned())])),
            owner_references: controller.map(|uid| {
                vec![OwnerReference {
                    uid: uid.to_owned(),
                    controller: Some(true),
                    ..OwnerReference::default()
                }]
            }),
            deletion_timestamp: leaving.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        }
    }

    fn owner(leaving: bool) -> ObjectMeta {
        ObjectMeta {
            uid: Some("me".to_owned()),
            ..object("web", None, leaving)
        }
    }

    fn web() -> Selector {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        selector(&LabelSelector {
            match_labels: Some(labels),
            match_expressions: None,
        })
        .expect("a valid selector")
    }

    #[test]
    fn an_object_is_claimed_by_selector_and_controller() {
        let cases = [
            (false, object("web", Some("me"), false), Claim::Keep),
            (false, object("web", Some("me"), true), Claim::Keep),
            (false, object("web", Some("other"), false), Claim::Ignore),
            (false, object("web", None, false), Claim::Adopt),
            (false, object("web", None, true), Claim::Ignore),
            (false, object("api", None, false), Claim::Ignore),
            (false, object("api", Some("me"), false), Claim::Release),
            (true, object("api", Some("me"), false), Claim::Ignore),
            (true, object("web", None, false), Claim::Ignore),
            (true, object("web", Some("me"), false), Claim::Keep),
        ];
        for (leaving, candidate, expected) in cases {
            assert_eq!(
                claim(&owner(leaving), &web(), &candidate),
                expected,
                "{candidate:?}"
            );
        }
    }

    #[test]
    fn an_object_of_another_namespace_is_never_adopted() {
        let stranger = ObjectMeta {
            namespace: Some("other".to_owned()),
            ..object("web", None, false)
        };
        assert_eq!(claim(&owner(false), &web(), &stranger), Claim::Ignore);
    }

    #[test]
    fn giving_up_an_object_keeps_its_other_owners() {
        let mut candidate = object("api", Some("me"), false);
        let other = OwnerReference {
            uid: "other".to_owned(),
            ..OwnerReference::default()
        };
        candidate
            .owner_references
            .get_or_insert_default()
            .push(other.clone());
        let me = OwnerReference {
            uid: "me".to_owned(),
            ..OwnerReference::default()
        };
        assert_eq!(
            owners_after(Claim::Release, &me, &candidate),
            Some(vec![other.clone()])
        );
        assert_eq!(owners_after(Claim::Keep, &me, &candidate), None);
        candidate.owner_references = Some(vec![other.clone()]);
        assert_eq!(
            owners_after(Claim::Adopt, &me, &candidate),
            Some(vec![other, me])
        );
    }
}
