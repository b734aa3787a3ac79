//! SCIM filters (RFC 7644 §3.4.2.2): text → tree → yes or no. Pure.
//!
//! Understood: `eq ne co sw ew gt ge lt le pr`, `and or not`, brackets, and strings in double or,
//! as the documents write them, single quotes. Anything else is refused with `invalidFilter`.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::answer::Refusal;
use super::path::ENTERPRISE;
use crate::model::Timestamp;

/// An attribute, with a sub-attribute where one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) sub: Option<String>,
}

/// How an attribute is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
    Present(Attribute),
    Compare(Attribute, Operator, Value),
}

/// How texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collation {
    Exact,
    AnyCase,
    /// As moments where both are dates, else letter by letter.
    Date,
}

impl Collation {
    fn of(attribute: &str) -> Self {
        match attribute {
            "meta" => Self::Date,
            "id" | "externalId" | "roles" | "teams" | "members" | "value" => Self::Exact,
            _ => Self::AnyCase,
        }
    }
}

impl Filter {
    /// Reads a filter.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        let filter = parser.either()?;
        match parser.next() {
            None => Ok(filter),
            Some(token) => Err(invalid(&format!("unexpected {token:?}"))),
        }
    }

    /// Whether an object passes; `read` gives the value of one of its attributes.
    pub(super) fn matches<'a>(&self, read: &dyn Fn(&str) -> Option<Cow<'a, Value>>) -> bool {
        match self {
            Self::And(a, b) => a.matches(read) && b.matches(read),
            Self::Or(a, b) => a.matches(read) || b.matches(read),
            Self::Not(inner) => !inner.matches(read),
            Self::Present(attribute) => {
                any(read(&attribute.name).as_deref(), attribute.sub.as_deref(), &|value| !is_empty(value))
            }
            // An attribute that is not there differs from everything.
            Self::Compare(attribute, Operator::NotEqual, wanted) => {
                !compare_any(attribute, Operator::Equal, wanted, read)
            }
            Self::Compare(attribute, operator, wanted) => compare_any(attribute, *operator, wanted, read),
        }
    }

    /// Attributes and values, one of which a resource must have for the filter to pass, when `indexed`
    /// attributes alone can say so.
    pub(super) fn lookups(&self, indexed: &[&str]) -> Option<Vec<(&str, &str)>> {
        match self {
            Self::And(a, b) => a.lookups(indexed).or_else(|| b.lookups(indexed)),
            Self::Or(a, b) => {
                let mut either = a.lookups(indexed)?;
                either.extend(b.lookups(indexed)?);
                Some(either)
            }
            Self::Compare(on, Operator::Equal, Value::String(value))
                if on.sub.is_none() && indexed.contains(&on.name.as_str()) =>
            {
                Some(vec![(&on.name, value)])
            }
            _ => None,
        }
    }

    /// Calls `visit` with every attribute that the filter names, to check or to rename it.
    pub(super) fn each_attribute(
        &mut self,
        visit: &mut dyn FnMut(&mut Attribute) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.each_attribute(visit)?;
                b.each_attribute(visit)
            }
            Self::Not(inner) => inner.each_attribute(visit),
            Self::Present(attribute) | Self::Compare(attribute, ..) => visit(attribute),
        }
    }
}

fn compare_any<'a>(
    attribute: &Attribute,
    operator: Operator,
    wanted: &Value,
    read: &dyn Fn(&str) -> Option<Cow<'a, Value>>,
) -> bool {
    let collation = Collation::of(&attribute.name);
    let value = read(&attribute.name);
    if value.is_none() && wanted.is_null() {
        return operator == Operator::Equal;
    }
    any(value.as_deref(), attribute.sub.as_deref(), &|value| compare(value, operator, wanted, collation))
}

/// Whether any of the values that an attribute stands for passes the test.
fn any(value: Option<&Value>, sub: Option<&str>, test: &dyn Fn(&Value) -> bool) -> bool {
    match (value, sub) {
        (Some(Value::Array(items)), _) => items.iter().any(|item| any(Some(item), sub, test)),
        (Some(Value::Object(map)), Some(sub)) => map
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(sub))
            .is_some_and(|(_, value)| any(Some(value), None, test)),
        // A multi-valued complex attribute without a sub-attribute means its `value`.
        (Some(Value::Object(map)), None) => map.get("value").map_or(!map.is_empty(), test),
        (Some(value), None) => test(value),
        (None, _) | (Some(_), Some(_)) => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn compare(value: &Value, operator: Operator, wanted: &Value, collation: Collation) -> bool {
    match (value, wanted) {
        (Value::String(a), Value::String(b)) => match collation {
            Collation::Exact => compare_text(a, operator, b),
            Collation::AnyCase if operator == Operator::Equal && a.is_ascii() => a.eq_ignore_ascii_case(b),
            Collation::AnyCase => compare_text(&a.to_lowercase(), operator, &b.to_lowercase()),
            Collation::Date => match (Timestamp::parse(a), Timestamp::parse(b)) {
                (Some(a), Some(b)) => operator.accepts(a.cmp(&b)),
                _ => compare_text(a, operator, b),
            },
        },
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).is_some_and(|order| operator.accepts(order))
        }
        (a, b) => operator == Operator::Equal && a == b,
    }
}

fn compare_text(a: &str, operator: Operator, b: &str) -> bool {
    match operator {
        Operator::Contains => a.contains(b),
        Operator::StartsWith => a.starts_with(b),
        Operator::EndsWith => a.ends_with(b),
        _ => operator.accepts(a.cmp(b)),
    }
}

impl Operator {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "co" => Self::Contains,
            "sw" => Self::StartsWith,
            "ew" => Self::EndsWith,
            "gt" => Self::Greater,
            "ge" => Self::GreaterOrEqual,
            "lt" => Self::Less,
            "le" => Self::LessOrEqual,
            _ => return None,
        })
    }

    const fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Contains | Self::StartsWith | Self::EndsWith => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Open,
    Close,
    Word(String),
    Text(String),
}

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let used = match first {
            '(' | ')' => {
                found.push(if first == '(' { Token::Open } else { Token::Close });
                1
            }
            '"' | '\'' => {
                let (text, used) = quoted(rest)?;
                found.push(Token::Text(text));
                used
            }
            _ => {
                let used =
                    rest.find(|c: char| c.is_whitespace() || "()\"'".contains(c)).unwrap_or(rest.len());
                found.push(Token::Word(rest[..used].to_owned()));
                used
            }
        };
        rest = rest[used..].trim_start();
    }
    Ok(found)
}

/// Reads a quoted string at the start of `text`: what it says, and how many bytes it takes.
///
/// The escapes are those of JSON; single quotes can be escaped as well.
pub(super) fn quoted(text: &str) -> Result<(String, usize), Refusal> {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else { return Err(invalid("a string is missing")) };
    let mut json = String::from('"');
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, '\'')) => json.push('\''),
                Some((_, escaped)) => json.extend(['\\', escaped]),
                None => break,
            },
            '"' if quote != '"' => json.push_str("\\\""),
            c if c == quote => {
                json.push('"');
                let said = serde_json::from_str(&json).map_err(|_| invalid("a string is malformed"))?;
                return Ok((said, at + 1));
            }
            c => json.push(c),
        }
    }
    Err(invalid("a string is not closed"))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn accept(&mut self, keyword: &str) -> bool {
        let hit =
            matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(hit);
        hit
    }

    fn either(&mut self) -> Result<Filter, Refusal> {
        let mut left = self.both()?;
        while self.accept("or") {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, Refusal> {
        let mut left = self.single()?;
        while self.accept("and") {
            left = Filter::And(Box::new(left), Box::new(self.single()?));
        }
        Ok(left)
    }

    fn single(&mut self) -> Result<Filter, Refusal> {
        if self.accept("not") {
            return match self.next() {
                Some(Token::Open) => Ok(Filter::Not(Box::new(self.group()?))),
                _ => Err(invalid("'not' needs brackets")),
            };
        }
        match self.next() {
            Some(Token::Open) => self.group(),
            Some(Token::Word(attribute)) => self.comparison(&attribute),
            Some(Token::Close | Token::Text(_)) | None => Err(invalid("an attribute is missing")),
        }
    }

    fn group(&mut self) -> Result<Filter, Refusal> {
        let inner = self.either()?;
        match self.next() {
            Some(Token::Close) => Ok(inner),
            _ => Err(invalid("a bracket is not closed")),
        }
    }

    fn comparison(&mut self, attribute: &str) -> Result<Filter, Refusal> {
        let attribute = Attribute::parse(attribute)?;
        let Some(Token::Word(word)) = self.next() else { return Err(invalid("an operator is missing")) };
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(attribute));
        }
        let operator =
            Operator::parse(&word).ok_or_else(|| invalid(&format!("unknown operator {word:?}")))?;
        let value = match self.next() {
            Some(Token::Text(text)) => Value::String(text),
            Some(Token::Word(word)) => {
                serde_json::from_str(&word).map_err(|_| invalid(&format!("{word:?} is no value")))?
            }
            Some(Token::Open | Token::Close) | None => return Err(invalid("a value is missing")),
        };
        Ok(Filter::Compare(attribute, operator, value))
    }
}

impl Attribute {
    /// Reads `name` or `name.sub`; an attribute of the extension is a part of the object that has its URN.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some(sub) = text.strip_prefix(ENTERPRISE).and_then(|rest| rest.strip_prefix(':')) {
            let own = Self::parse(sub)?;
            return Ok(Self { name: ENTERPRISE.to_owned(), sub: Some(own.name) });
        }
        let (name, sub) = text.split_once('.').map_or((text, None), |(name, sub)| (name, Some(sub)));
        let legal = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_$".contains(c))
        };
        if !legal(name) || !sub.is_none_or(legal) {
            return Err(invalid(&format!("{text:?} is no attribute")));
        }
        Ok(Self { name: name.to_owned(), sub: sub.map(str::to_owned) })
    }
}

fn invalid(why: &str) -> Refusal {
    Refusal::bad("invalidFilter", format!("the filter cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn passes(filter: &str) -> bool {
        let object = json!({
            "id": "u-1", "userName": "User-0001@practice.example", "externalId": "E-0001", "active": true,
            "level": 7, "name": {"familyName": "0001"}, "nickName": "",
            "emails": [{"value": "a@practice.example", "type": "work"}, {"value": "b@practice.example"}],
            "roles": [{"value": "HR_SALES"}],
            "meta": {"lastModified": "2026-01-01T00:00:00.500Z"},
        });
        let read = |name: &str| object.get(name).map(Cow::Borrowed);
        Filter::parse(filter).unwrap_or_else(|e| panic!("{filter}: {e}")).matches(&read)
    }

    #[test]
    fn comparisons() {
        for (filter, expected) in [
            ("userName ne ''", true),
            (r#"userName eq "user-0001@PRACTICE.example""#, true),
            ("userName eq 'user-0002@practice.example'", false),
            (r#"externalId eq "E-0001""#, true),
            (r#"externalId eq "e-0001""#, false),
            (r#"id eq "u-1""#, true),
            ("active eq true", true),
            ("active eq false", false),
            ("active ne false", true),
            ("level gt 6", true),
            ("level le 6.5", false),
            ("title pr", false),
            ("nickName pr", false),
            ("userName pr", true),
            ("title ne 'x'", true),
            ("title eq null", true),
            ("userName sw 'USER'", true),
            ("userName ew '.example'", true),
            ("userName co '0001@'", true),
            ("name.familyName eq '0001'", true),
            ("emails.type eq 'work'", true),
            ("emails eq 'B@practice.example'", true),
            ("emails.value eq 'c@practice.example'", false),
            ("roles eq 'HR_SALES'", true),
            ("roles.value eq 'hr_sales'", false),
            (r#"meta.lastModified gt "2026-01-01T00:00:00.499Z""#, true),
            (r#"meta.lastModified gt "2026-01-01T00:00:00.5Z""#, false),
            (r#"meta.lastModified ge "2026-01-01T01:00:00.500+01:00""#, true),
            (r#"meta.lastModified lt "2026-01-01T00:00:01Z""#, true),
        ] {
            assert_eq!(passes(filter), expected, "{filter}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or_and_brackets_tighter_than_both() {
        for (filter, expected) in [
            ("active eq true or active eq false and id eq 'x'", true),
            ("(active eq true or active eq false) and id eq 'x'", false),
            ("not (active eq true) or id eq 'u-1'", true),
            ("active eq true AND NOT (id eq 'u-1')", false),
        ] {
            assert_eq!(passes(filter), expected, "{filter}");
        }
    }

    #[test]
    fn quotes_can_be_escaped() {
        for (text, said) in [
            (r#""a\"b" rest"#, r#"a"b"#),
            (r#""a\\" rest"#, r"a\"),
            (r"'a\'b' rest", "a'b"),
            (r#"'a"b' rest"#, r#"a"b"#),
            (r#""\u00e9" rest"#, "é"),
        ] {
            let (found, used) = quoted(text).expect(text);
            assert_eq!((found.as_str(), &text[used..]), (said, " rest"));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for filter in [
            "",
            "userName",
            "userName like 'x'",
            "userName eq",
            "userName eq x",
            "userName eq 'x",
            "userName eq 'x' and",
            "(userName eq 'x'",
            "userName eq 'x')",
            "not userName eq 'x'",
            "user/Name eq 'x'",
            "userName eq 'x' 'y'",
        ] {
            let refusal = Filter::parse(filter).expect_err(filter);
            assert_eq!(refusal.scim_type, Some("invalidFilter"), "{filter}");
        }
    }

    #[test]
    fn look_ups_are_found_where_nothing_else_can_pass() {
        for (text, found) in [
            ("userName eq 'x'", Some(vec![("userName", "x")])),
            ("active eq true and userName eq 'x'", Some(vec![("userName", "x")])),
            (
                "id eq 'a' or userName eq 'x' or id eq 'b'",
                Some(vec![("id", "a"), ("userName", "x"), ("id", "b")]),
            ),
            ("active eq true and (id eq 'a' or id eq 'b')", Some(vec![("id", "a"), ("id", "b")])),
            ("active eq true or userName eq 'x'", None),
            ("userName ne 'x'", None),
            ("userName eq null", None),
            ("externalId eq 'x'", None),
            ("not (userName eq 'x')", None),
        ] {
            let filter = Filter::parse(text).expect(text);
            assert_eq!(filter.lookups(&["id", "userName"]), found, "{text}");
        }
    }
}
