//! All users and groups of the practice tenant, with the indexes that keep calls cheap.
//!
//! A membership is one truth seen from two sides: a user's teams and a group's members change
//! together, here and nowhere else. A team that nobody has heard of comes into being when somebody is
//! put into it, so that any mapping can be rehearsed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::record::{Draft, Id, Kind, Record};
use crate::model::Timestamp;

/// All resources of one kind.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    records: HashMap<Id, Record>,
    /// The order of the list.
    order: BTreeMap<i64, Id>,
    modified: BTreeSet<(Timestamp, Id)>,
    /// By lower-cased `userName`; groups may share a name.
    names: HashMap<String, Id>,
    external_ids: HashMap<String, Id>,
}

impl Shelf {
    /// One resource.
    pub(super) fn get(&self, id: &str) -> Option<&Record> {
        self.records.get(id)
    }

    /// All of them in the order of the list.
    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.order.values().filter_map(|id| self.records.get(id))
    }

    /// Those that changed strictly later, in the order of the list.
    pub(super) fn changed_since(&self, since: Timestamp) -> Vec<&Record> {
        let later = (Timestamp::from_millis(since.millis().saturating_add(1)), Id::from(""));
        let mut found: Vec<&Record> =
            self.modified.range(later..).filter_map(|(_, id)| self.records.get(id)).collect();
        found.sort_unstable_by_key(|record| record.place);
        found
    }

    /// By an attribute that has an index ([`Kind::indexed`]), without a look at the others.
    pub(super) fn look_up(&self, attribute: &str, value: &str) -> Option<&Record> {
        match attribute {
            "id" => self.get(value),
            "externalId" => self.external(value),
            "userName" => self.named(value),
            _ => None,
        }
    }

    /// By the name that must be unique, in any case.
    fn named(&self, name: &str) -> Option<&Record> {
        self.names.get(&name.to_lowercase()).and_then(|id| self.get(id))
    }

    /// By `externalId`.
    pub(super) fn external(&self, id: &str) -> Option<&Record> {
        self.external_ids.get(id).and_then(|id| self.get(id))
    }

    /// Moves a resource to the front of the list; nothing else about it changes.
    pub(super) fn move_to_front(&mut self, id: &str) {
        let front = self.order.first_key_value().map_or(0, |(place, _)| place.saturating_sub(1));
        if let Some(record) = self.records.get_mut(id) {
            self.order.remove(&record.place);
            record.place = front;
            self.order.insert(front, record.id.clone());
        }
    }

    fn insert(&mut self, kind: Kind, mut record: Record) {
        record.place = self.order.last_key_value().map_or(0, |(place, _)| place.saturating_add(1));
        self.order.insert(record.place, record.id.clone());
        self.modified.insert((record.modified, record.id.clone()));
        self.index(kind, &record.attributes, &record.id);
        self.records.insert(record.id.clone(), record);
    }

    fn remove(&mut self, kind: Kind, id: &str) -> Option<Record> {
        let record = self.records.remove(id)?;
        self.order.remove(&record.place);
        self.modified.remove(&(record.modified, record.id.clone()));
        self.forget(kind, &record.attributes);
        Some(record)
    }

    fn index(&mut self, kind: Kind, attributes: &Map<String, Value>, id: &Id) {
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        if let (Kind::User, Some(name)) = (kind, text("userName")) {
            self.names.insert(name.to_lowercase(), id.clone());
        }
        if let Some(external) = text("externalId") {
            self.external_ids.insert(external.to_owned(), id.clone());
        }
    }

    fn forget(&mut self, kind: Kind, attributes: &Map<String, Value>) {
        let text = |name: &str| attributes.get(name).and_then(Value::as_str);
        if let (Kind::User, Some(name)) = (kind, text("userName")) {
            self.names.remove(&name.to_lowercase());
        }
        if let Some(external) = text("externalId") {
            self.external_ids.remove(external);
        }
    }

    /// Counts one change.
    fn touch(&mut self, id: &str, now: Timestamp) {
        if let Some(record) = self.records.get_mut(id) {
            self.modified.remove(&(record.modified, record.id.clone()));
            record.modified = now;
            record.version += 1;
            self.modified.insert((now, record.id.clone()));
        }
    }

    fn check_unique(&self, kind: Kind, draft: &Draft, own: Option<&str>) -> Result<(), Refusal> {
        let text = |name: &str| draft.attributes.get(name).and_then(Value::as_str);
        let other = |record: Option<&Record>| record.is_some_and(|record| Some(&*record.id) != own);
        if kind == Kind::User && other(text("userName").and_then(|name| self.named(name))) {
            return Err(Refusal::taken("userName"));
        }
        if other(text("externalId").and_then(|id| self.external(id))) {
            return Err(Refusal::taken("externalId"));
        }
        Ok(())
    }
}

/// All users and groups.
#[derive(Debug)]
pub(super) struct Directory {
    users: Shelf,
    groups: Shelf,
    ids: StdRng,
}

impl Directory {
    /// An empty one whose ids follow from the seed.
    pub(super) fn new(seed: u64) -> Self {
        Self { users: Shelf::default(), groups: Shelf::default(), ids: StdRng::seed_from_u64(seed) }
    }

    /// All resources of a kind.
    pub(super) const fn shelf(&self, kind: Kind) -> &Shelf {
        match kind {
            Kind::User => &self.users,
            Kind::Group => &self.groups,
        }
    }

    /// All resources of a kind, to move them.
    pub(super) const fn shelf_mut(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }

    /// One resource, or 404.
    pub(super) fn get(&self, kind: Kind, id: &str) -> Result<&Record, Refusal> {
        self.shelf(kind).get(id).ok_or_else(|| Refusal::missing(kind.name(), id))
    }

    /// Makes a new resource and says its id.
    pub(super) fn create(&mut self, kind: Kind, draft: Draft, now: Timestamp) -> Result<Id, Refusal> {
        let id = Id::from(uuid::Builder::from_random_bytes(self.ids.random()).into_uuid().to_string());
        self.create_as(kind, id, draft, now)
    }

    /// Makes a new resource with an id of the caller's choice.
    pub(super) fn create_as(
        &mut self,
        kind: Kind,
        id: Id,
        draft: Draft,
        now: Timestamp,
    ) -> Result<Id, Refusal> {
        self.shelf(kind).check_unique(kind, &draft, None)?;
        self.check_links(kind, &draft)?;
        let record = Record {
            id: id.clone(),
            attributes: draft.attributes,
            links: BTreeSet::new(),
            created: now,
            modified: now,
            version: 1,
            place: 0,
        };
        self.shelf_mut(kind).insert(kind, record);
        self.link(kind, &id, &draft.links, now);
        Ok(id)
    }

    /// Makes a resource what the draft says; `false` when it was that already, and then nothing moves.
    pub(super) fn update(
        &mut self,
        kind: Kind,
        id: &str,
        draft: Draft,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let record = self.get(kind, id)?;
        if record.attributes == draft.attributes && record.links == draft.links {
            return Ok(false);
        }
        self.shelf(kind).check_unique(kind, &draft, Some(id))?;
        self.check_links(kind, &draft)?;
        let own = self.shelf_mut(kind);
        if let Some(record) = own.records.get_mut(id) {
            let id = record.id.clone();
            let old = std::mem::replace(&mut record.attributes, draft.attributes);
            let new = record.attributes.clone();
            own.forget(kind, &old);
            own.index(kind, &new, &id);
            own.touch(&id, now);
            self.link(kind, &id, &draft.links, now);
        }
        Ok(true)
    }

    /// Takes a resource away; its memberships go with it.
    pub(super) fn delete(&mut self, kind: Kind, id: &str, now: Timestamp) -> Result<(), Refusal> {
        self.get(kind, id)?;
        self.link(kind, &Id::from(id), &BTreeSet::new(), now);
        self.shelf_mut(kind).remove(kind, id);
        Ok(())
    }

    /// Only a group can come into being by being named.
    fn check_links(&self, kind: Kind, draft: &Draft) -> Result<(), Refusal> {
        let unknown = |id: &&Id| kind == Kind::Group && self.users.get(id).is_none();
        match draft.links.iter().find(unknown) {
            None => Ok(()),
            Some(id) => Err(Refusal::bad("invalidValue", format!("there is no user {id}"))),
        }
    }

    /// Changes the links of a resource, and the other ends of those that come or go.
    fn link(&mut self, kind: Kind, id: &Id, links: &BTreeSet<Id>, now: Timestamp) {
        let Some(record) = self.shelf_mut(kind).records.get_mut(id) else { return };
        let old = std::mem::replace(&mut record.links, links.clone());
        for other in old.symmetric_difference(links) {
            if kind == Kind::User && self.groups.get(other).is_none() {
                self.found_group(other, now);
            }
            let others = self.shelf_mut(kind.other());
            if let Some(end) = others.records.get_mut(other) {
                if links.contains(other) {
                    end.links.insert(id.clone())
                } else {
                    end.links.remove(id)
                };
                others.touch(other, now);
            }
        }
    }

    fn found_group(&mut self, id: &Id, now: Timestamp) {
        let name = Map::from_iter([
            ("schemas".to_owned(), json!([Kind::Group.schema()])),
            ("displayName".to_owned(), Value::from(&**id)),
        ]);
        let record = Record {
            id: id.clone(),
            attributes: name,
            links: BTreeSet::new(),
            created: now,
            modified: now,
            version: 0,
            place: 0,
        };
        self.groups.insert(Kind::Group, record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn draft(kind: Kind, name: &str, links: &[&str]) -> Draft {
        let links: Vec<Value> = links.iter().map(|id| json!({ "value": id })).collect();
        let body = json!({ kind.required(): name, kind.link(): links });
        Draft::read(kind, serde_json::from_value(body).expect("an object")).expect("legal")
    }

    fn links(directory: &Directory, kind: Kind, id: &str) -> Vec<String> {
        directory.get(kind, id).expect("exists").links.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_membership_is_the_same_from_both_sides() {
        let mut directory = Directory::new(1);
        let user = directory.create(Kind::User, draft(Kind::User, "u", &["t1", "t2"]), at(1)).expect("new");
        assert_eq!(links(&directory, Kind::Group, "t1"), [&*user]);

        directory.update(Kind::Group, "t1", draft(Kind::Group, "t1", &[]), at(2)).expect("exists");
        assert_eq!(links(&directory, Kind::User, &user), ["t2"]);
        assert_eq!(directory.get(Kind::User, &user).map(|u| (u.version, u.modified)), Ok((2, at(2))));

        directory.delete(Kind::Group, "t2", at(3)).expect("exists");
        assert!(links(&directory, Kind::User, &user).is_empty());

        directory.update(Kind::User, &user, draft(Kind::User, "u", &["t1"]), at(4)).expect("exists");
        directory.delete(Kind::User, &user, at(5)).expect("exists");
        assert!(links(&directory, Kind::Group, "t1").is_empty());
    }

    #[test]
    fn an_update_to_the_same_moves_nothing() {
        let mut directory = Directory::new(1);
        let user = directory.create(Kind::User, draft(Kind::User, "u", &["t1"]), at(1)).expect("new");
        let before = directory.get(Kind::User, &user).map(|u| (u.version, u.modified, u.place));
        assert_eq!(directory.update(Kind::User, &user, draft(Kind::User, "u", &["t1"]), at(9)), Ok(false));
        assert_eq!(directory.get(Kind::User, &user).map(|u| (u.version, u.modified, u.place)), before);
    }

    #[test]
    fn names_are_unique_and_free_again_after_a_change() {
        let mut directory = Directory::new(1);
        let one = directory.create(Kind::User, draft(Kind::User, "one", &[]), at(1)).expect("new");
        let refused = directory.create(Kind::User, draft(Kind::User, "ONE", &[]), at(1)).expect_err("taken");
        assert_eq!(refused.scim_type, Some("uniqueness"));
        directory.update(Kind::User, &one, draft(Kind::User, "two", &[]), at(2)).expect("free");
        directory.create(Kind::User, draft(Kind::User, "one", &[]), at(3)).expect("free again");
        assert_eq!(directory.shelf(Kind::User).all().count(), 2);
    }

    #[test]
    fn changes_are_found_strictly_later_and_once() {
        let mut directory = Directory::new(1);
        let a = directory.create(Kind::User, draft(Kind::User, "a", &[]), at(10)).expect("new");
        let b = directory.create(Kind::User, draft(Kind::User, "b", &[]), at(20)).expect("new");
        let found = |directory: &Directory, since| {
            let found = directory.shelf(Kind::User).changed_since(at(since));
            found.iter().map(|user| user.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found(&directory, 9), [a.clone(), b.clone()]);
        assert_eq!(found(&directory, 10), std::slice::from_ref(&b));
        assert!(found(&directory, 20).is_empty());
        directory.update(Kind::User, &a, draft(Kind::User, "a2", &[]), at(30)).expect("exists");
        assert_eq!(found(&directory, 0), [a.clone(), b]);
        assert_eq!(found(&directory, 20), [a]);
    }

    #[test]
    fn a_group_does_not_take_unknown_users() {
        let mut directory = Directory::new(1);
        let refused = directory.create(Kind::Group, draft(Kind::Group, "g", &["nobody"]), at(1));
        assert_eq!(refused.expect_err("unknown").scim_type, Some("invalidValue"));
        assert_eq!(directory.shelf(Kind::Group).all().count(), 0);
    }
}
