//! Who is listed, and who of them lives. No clock and no network: both are given.

use std::collections::BTreeMap;

use super::pulse::Health;
use crate::cluster::membership::{MemberInfo, Roster};

/// The members of a cluster as one of them knows them.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Roll {
    own: MemberInfo,
    others: BTreeMap<String, (MemberInfo, Health)>,
}

impl Roll {
    /// Nobody but `own` is known yet.
    pub(in crate::cluster) const fn new(own: MemberInfo) -> Self {
        Self {
            own,
            others: BTreeMap::new(),
        }
    }

    /// What is known of this member. It need not be listed.
    pub(in crate::cluster) const fn own(&self) -> &MemberInfo {
        &self.own
    }

    /// Who belongs to the cluster from now on. Of who is new nothing was heard yet.
    pub(in crate::cluster) fn list(&mut self, roster: &Roster) {
        let mut before = std::mem::take(&mut self.others);
        self.own = MemberInfo::new(std::mem::take(&mut self.own.name));
        for info in &roster.members {
            if info.name == self.own.name {
                self.own = info.clone();
                continue;
            }
            let known = before.remove(&info.name);
            let health = known.map_or(Health::Dead, |(_, health)| health);
            self.others
                .insert(info.name.clone(), (info.clone(), health));
        }
    }

    /// How a member is from now on; nothing if it is not listed any more.
    pub(in crate::cluster) fn note(&mut self, name: &str, health: Health) {
        if let Some((_, known)) = self.others.get_mut(name) {
            *known = health;
        }
    }

    /// Whether it is listed, and not this member.
    pub(in crate::cluster) fn has(&self, name: &str) -> bool {
        self.others.contains_key(name)
    }

    /// The names of all that are listed but this one.
    pub(in crate::cluster) fn others(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// All that are listed but this one, by name, and how they are.
    pub(in crate::cluster) fn listed(&self) -> impl Iterator<Item = (&MemberInfo, Health)> {
        self.others.values().map(|(info, health)| (info, *health))
    }

    /// Those that are asked for bytes: this one first, the others by name. What is under
    /// way to one that drains goes on; it is asked for nothing new.
    pub(in crate::cluster) fn live(&self) -> impl Iterator<Item = &MemberInfo> {
        let others = self.others.values();
        let live = others.filter(|(_, health)| *health == Health::Alive);
        std::iter::once(&self.own).chain(live.map(|(info, _)| info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(roll: &Roll) -> Vec<&str> {
        roll.live().map(|info| info.name.as_str()).collect()
    }

    fn roster(names: &[&str]) -> Roster {
        Roster {
            epoch: 1,
            members: names.iter().map(|name| MemberInfo::new(*name)).collect(),
        }
    }

    #[test]
    fn who_is_listed_and_alive_is_asked_and_what_was_heard_outlasts_a_new_list() {
        let mut roll = Roll::new(MemberInfo::new("b"));
        roll.list(&roster(&["a", "b", "c"]));
        assert_eq!(live(&roll), ["b"]);
        roll.note("a", Health::Alive);
        roll.note("c", Health::Draining);
        roll.note("x", Health::Alive);
        assert_eq!(live(&roll), ["b", "a"]);
        roll.list(&roster(&["a", "d"]));
        assert_eq!(live(&roll), ["b", "a"]);
        assert!(roll.has("d") && !roll.has("c") && !roll.has("b"));
        roll.list(&roster(&["d"]));
        roll.list(&roster(&["a", "d"]));
        assert_eq!(live(&roll), ["b"], "a is new again");
    }

    #[test]
    fn a_member_learns_its_own_weight_from_the_list() {
        let mut roll = Roll::new(MemberInfo::new("a"));
        let mut listed = roster(&["a"]);
        listed.members[0].weight = 7;
        roll.list(&listed);
        assert_eq!(roll.own().weight, 7);
        roll.list(&roster(&[]));
        assert_eq!((roll.own().weight, roll.own().name.as_str()), (1, "a"));
    }
}
