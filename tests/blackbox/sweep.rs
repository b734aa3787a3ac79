//! Sweeps: what deltas cannot see, users who are missing, and teams that leave the mapping.

use std::collections::BTreeSet;

use rosterd::model::{Role, TeamId, UserId};
use rosterd::practice::Faults;

use crate::home::TENANT;
use crate::rig::{Rig, users};

const REMAPPED: &str = "HR_ENGINEER = \"team-engineering\"\nHR_FINANCE = \"team-finance\"\nHR_SALES = \"team-finance\"\n\
                        HR_SUPPORT = [\"team-service-desk\", \"team-support\"]";

fn in_team(rig: &Rig, team: &str) -> BTreeSet<UserId> {
    let team = TeamId::from(team);
    rig.teams().into_iter().filter(|(_, teams)| teams.contains(&team)).map(|(id, _)| id).collect()
}

#[test]
fn a_deleted_user_is_asked_for_by_id_and_forgotten() {
    let rig = Rig::still(users(60));
    rig.sync();
    let gone = rig.some(|user| user.active).id;
    rig.tenant().delete_user(&gone).unwrap();
    let reads = rig.stats().count("GET /Users/{id}");
    let ran = rig.run(&["sync", "--full"]).ended(0);
    ran.complains(&format!("\"user\":\"{gone}\"")).complains("\"deleted\":1,\"edited\":0,\"missed\":0");
    assert_eq!(rig.stats().count("GET /Users/{id}") - reads, 1, "nobody else was missing");
    rig.run(&["sync", "--full"]).ended(0);
    assert_eq!(rig.stats().count("GET /Users/{id}") - reads, 1, "he is not asked for again");
}

#[test]
fn what_others_change_in_the_tenant_is_found_and_put_right() {
    let rig = Rig::still(users(60));
    rig.sync();
    rig.advance(60);
    let user = rig.some(|user| user.active && user.roles == [Role::from("HR_SALES")].into());
    rig.tenant().set_teams(&user.id, [TeamId::from("team-finance")]).unwrap();
    rig.run(&["sync", "--full"]).ended(0).complains("\"deleted\":0,\"edited\":1,\"missed\":0");
    rig.assert_right();
}

#[test]
fn a_leaver_whom_lists_hide_is_found_as_missing_and_loses_his_teams() {
    let rig = Rig::still(users(60));
    rig.sync();
    rig.faults(Faults { hide_inactive: true, ..Faults::default() });
    rig.run(&["sync", "--full"]).ended(0);
    rig.advance(60);
    let leaver = rig.some(|user| user.active && !user.roles.is_empty() && !user.teams.is_empty());
    rig.tenant().set_active(&leaver.id, false).unwrap();
    rig.run(&["sync"]).ended(0);
    assert!(rig.misplaced().contains(&leaver.id), "a delta pass cannot see him");
    rig.run(&["sync", "--full"]).ended(0);
    rig.assert_right();
}

#[test]
fn an_empty_list_removes_nobody_asks_for_nobody_and_is_held() {
    let rig = Rig::still(users(60));
    rig.sync();
    let (teams, patches, watermark) = (rig.teams(), rig.patches(), rig.status()["watermark"].clone());
    rig.advance(60);
    let reads = rig.stats().count("GET /Users/{id}");
    rig.faults(Faults { listed_percent: 0, ..Faults::default() });
    let user = rig.some(|user| user.active && user.roles == [Role::from("HR_SALES")].into()).id;
    rig.set_roles(&user, &["HR_FINANCE"]);
    let ran = rig.run(&["sync", "--full"]).ended(3);
    ran.complains("60 of 60 known users are missing from the list");
    assert_eq!((rig.teams(), rig.patches()), (teams, patches));
    assert_eq!(rig.stats().count("GET /Users/{id}"), reads, "nobody is asked for");
    assert_eq!(rig.status()["watermark"], watermark, "a change that was not read is not passed over");

    rig.faults(Faults::default());
    rig.run(&["sync"]).ended(0);
    rig.assert_right();
}

#[test]
fn a_team_that_leaves_the_mapping_loses_those_whom_we_put_there_and_no_others() {
    let rig = Rig::still(users(120));
    let before = in_team(&rig, "team-sales");
    let sales = Role::from("HR_SALES");
    let stayed: BTreeSet<UserId> =
        before.iter().filter(|id| rig.some(|user| user.id == **id).roles.contains(&sales)).cloned().collect();
    rig.sync();
    let after = in_team(&rig, "team-sales");
    let given: BTreeSet<UserId> = after.difference(&before).cloned().collect();
    assert!(given.len() > 3 && stayed.len() > 3, "{} {}", given.len(), stayed.len());
    rig.advance(60);

    let text = std::fs::read_to_string(rig.path("rosterd.toml")).unwrap();
    let (head, _) = text.split_once(&format!("[tenants.{TENANT}.mapping]")).unwrap();
    rig.write("rosterd.toml", &format!("{head}[tenants.{TENANT}.mapping]\n{REMAPPED}\n"));
    rig.run(&["sync"]).ended(0);
    let left = in_team(&rig, "team-sales");
    assert_eq!(left, stayed, "who was there before us stays, whom we put there leaves");
    let finance = in_team(&rig, "team-finance");
    let people = rig.tenant().users().into_iter().filter(|user| user.active && user.roles.contains(&sales));
    assert!(people.map(|user| user.id).all(|id| finance.contains(&id)));

    // Whoever is put there by hand from now on is not ours.
    rig.advance(60);
    let guest = given.first().unwrap();
    let teams = rig.some(|user| user.id == *guest).teams;
    rig.tenant().set_teams(guest, teams.into_iter().chain([TeamId::from("team-sales")])).unwrap();
    rig.advance(60);
    rig.run(&["sync"]).ended(0);
    rig.run(&["sync", "--full"]).ended(0);
    assert!(in_team(&rig, "team-sales").contains(guest));
}

#[test]
fn a_held_remap_is_not_taken_apart_by_passes_that_find_nothing_new() {
    let rig = Rig::still(users(120));
    rig.set("overlap = \"2m\"");
    rig.sync();
    rig.advance(1);
    let text = std::fs::read_to_string(rig.path("rosterd.toml")).unwrap();
    let text = text.replace("guard.max_removals_percent = 100", "guard.max_removals_percent = 5");
    let (head, _) = text.split_once(&format!("[tenants.{TENANT}.mapping]")).unwrap();
    rig.write("rosterd.toml", &format!("{head}[tenants.{TENANT}.mapping]\n{REMAPPED}\n"));
    let waiting = |rig: &Rig| rig.status()["operations"]["held"].as_u64().unwrap();

    rig.run(&["sync"]).ended(3);
    let before = waiting(&rig);
    assert!(before > 6, "{before}");
    rig.run(&["sync"]).ended(3);
    assert_eq!(waiting(&rig), before, "everybody was read again, and nobody had changed");

    let digest = rig.status()["holds"][0]["digest"].as_str().unwrap().to_owned();
    rig.run(&["approve", &digest]).ended(0).says(&format!("{before} operations are ready"));
    rig.run(&["sync"]).ended(0);
    let finance = in_team(&rig, "team-finance");
    let sales = Role::from("HR_SALES");
    let people = rig.tenant().users().into_iter().filter(|user| user.active && user.roles.contains(&sales));
    assert!(people.map(|user| user.id).all(|id| finance.contains(&id)));
}
