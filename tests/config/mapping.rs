//! The mapping, in each of its forms.

use std::collections::BTreeSet;
use std::fs;

use rosterd::model::{Role, TeamId};
use rstest::rstest;

use crate::{ACME, Case, acme, assert_one_fault};

const MAPPING: &str = "mapping = { HR_ENGINEER = \"team-id-123\" }";
const VARIABLE: &str = "ROSTERD__TENANTS__ACME__MAPPING";

fn with_mapping(value: &str) -> Case {
    Case::new(&ACME.replace(MAPPING, &format!("mapping = {value}")))
}

fn with_mapping_file(name: &str, text: impl AsRef<[u8]>) -> Case {
    let case = Case::new(&ACME.replace(MAPPING, &format!("mapping_file = \"{name}\"")));
    case.file(name, text);
    case
}

/// All rules as `ROLE=team+team`.
fn rules(case: &Case) -> String {
    let settings = case.settings();
    let rule = |(role, teams): (&Role, &BTreeSet<TeamId>)| {
        format!("{role}={}", teams.iter().map(TeamId::as_str).collect::<Vec<_>>().join("+"))
    };
    acme(&settings).mapping.rules().iter().map(rule).collect::<Vec<_>>().join(" ")
}

#[rstest]
#[case::empty_team("{ A = '' }", "mapping.A", "the team id is empty")]
#[case::empty_in_list("{ A = ['t', ''] }", "mapping.A", "the team id is empty")]
#[case::blank_team("{ A = ' t' }", "mapping.A", "begins or ends with a blank")]
#[case::empty_role("{ '' = 't' }", "mapping.\"\"", "the role is empty")]
#[case::dotted("{ 'A.B' = '' }", "mapping.\"A.B\"", "the team id is empty")]
#[case::empty_list("{ A = [] }", "mapping.A", "the list of teams is empty")]
#[case::twice("{ A = ['t', 't'] }", "mapping.A", "\"t\" is there twice")]
#[case::number("{ A = 7 }", "mapping.A", "a number is not a team id: write it in quotes")]
#[case::number_in_list("{ A = [7] }", "mapping.A", "a number is not a team id")]
#[case::unset("{ A = { env = 'NOT_SET' } }", "mapping.A", "NOT_SET is not set")]
#[case::none("{}", "mapping", "holds no rule")]
#[case::text("'{}'", "mapping", "is a table of rules, and text stands here")]
#[case::file("{ file = 'm.json' }", "mapping", "mapping_file")]
fn a_bad_rule(#[case] mapping: &str, #[case] key: &str, #[case] says: &str) {
    assert_one_fault(&with_mapping(mapping), &format!("tenants.acme.{key}"), "rosterd.toml", says);
}

#[test]
fn a_team_can_come_from_a_variable() {
    let case = with_mapping("{ A = { env = 'TEAM' }, B = ['t1', { env = 'TEAM' }] }").env("TEAM", "t2");
    assert_eq!(rules(&case), "A=t2 B=t1+t2");
}

#[test]
fn one_variable_sets_the_whole_mapping() {
    let case = Case::new(ACME).env(VARIABLE, r#"{"Hr_A":"t1","HR_B":["t3","t2"]}"#);
    assert_eq!(rules(&case), "HR_B=t2+t3 Hr_A=t1");
    assert_eq!(rules(&with_mapping("{ env = 'RULES' }").env("RULES", r#"{"A":"t"}"#)), "A=t");
}

#[rstest]
#[case::no_json("A=t", "is no JSON object of roles and team ids")]
#[case::list(r#"["t"]"#, "is no JSON object of roles and team ids")]
#[case::empty("{}", "holds no rule")]
#[case::twice(r#"{"A":"t","A":"u"}"#, "role \"A\": the role is there twice")]
#[case::no_team(r#"{"A":""}"#, "role \"A\": the team id is empty")]
#[case::number(r#"{"A":1}"#, "role \"A\": a team id is text")]
#[case::null(r#"{"A":null}"#, "role \"A\": a team id is text")]
fn a_bad_mapping_in_a_variable(#[case] json: &str, #[case] says: &str) {
    let case = Case::new(ACME).env(VARIABLE, json);
    assert_one_fault(&case, "tenants.acme.mapping", VARIABLE, says);
}

#[rstest]
#[case::rows("m.csv", "role,team\nA,t1\nB,t3\nA,t2\n", "A=t1+t2 B=t3")]
#[case::joined("m.csv", "role,team\r\nA , t1; t2\r\n", "A=t1+t2")]
#[case::quoted("m.csv", "\u{feff}role,team\n\"A, B\",t1\n", "A, B=t1")]
#[case::json("m.json", r#"{"A":["t1","t2"],"B":"t3"}"#, "A=t1+t2 B=t3")]
fn a_mapping_file_lies_beside_the_file_that_names_it(
    #[case] name: &str,
    #[case] text: &str,
    #[case] expected: &str,
) {
    assert_eq!(rules(&with_mapping_file(name, text)), expected);
}

#[rstest]
#[case::header("m.csv", "A,t1\n", "line 1: the header is not `role,team`")]
#[case::empty("m.csv", "", "line 1: the header is not `role,team`")]
#[case::no_rule("m.csv", "role,team\n", "holds no rule")]
#[case::cells("m.csv", "role,team\nA,t1,t2\n", "line 2: 3 cells instead of two")]
#[case::no_team("m.csv", "role,team\nA,t1\nB,\n", "line 3, role \"B\": the team id is empty")]
#[case::half_list("m.csv", "role,team\nA,t1;\n", "line 2, role \"A\": the team id is empty")]
#[case::no_role("m.csv", "role,team\n,t1\n", "line 2, role \"\": the role is empty")]
#[case::twice(
    "m.csv",
    "role,team\nA,t1\nA,t2;t1\n",
    "line 3, role \"A\": the rule for team \"t1\" is there twice"
)]
#[case::json("m.json", "{", "is no JSON object")]
#[case::kind("m.yaml", "A: t1\n", "is neither .csv nor .json")]
fn a_bad_mapping_file(#[case] name: &str, #[case] text: &str, #[case] says: &str) {
    assert_one_fault(&with_mapping_file(name, text), "tenants.acme.mapping_file", name, says);
}

#[test]
fn every_bad_row_is_reported() {
    let faults = with_mapping_file("m.csv", "role,team\nA,\nB,t1\nC,t1,t2\n,t1\n").faults();
    let lines: Vec<&str> = faults.iter().map(|fault| &fault.reason[..6]).collect();
    assert_eq!(lines, ["line 2", "line 4", "line 5"]);
}

#[test]
fn a_mapping_file_that_is_not_there_or_not_text() {
    let case = with_mapping_file("m.csv", [0xff, 0xfe]);
    assert_one_fault(&case, "tenants.acme.mapping_file", "m.csv", "cannot be read");
    fs::remove_file(case.folder.path().join("m.csv")).unwrap();
    assert_one_fault(&case, "tenants.acme.mapping_file", "m.csv", "cannot be read: No such file");
}
