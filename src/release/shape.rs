//! Which shapes of filter an agreement takes: dragnets are refused, whatever they would find.

use crate::ldap::filter::Filter;
use crate::policy::documents::FilterRules;

/// Why a concealed filter is refused, for the requester; `None` when it is taken. What is hidden is gone from it already,
/// so the answer tells nothing of it.
pub fn fault(filter: &Filter<'_>, rules: &FilterRules) -> Option<&'static str> {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().find_map(|part| fault(part, rules)),
        Filter::Not(inner) => fault(inner, rules),
        Filter::GreaterOrEqual(_) | Filter::LessOrEqual(_) if !rules.inequality => {
            Some("the release agreement takes no filter items with >= or <=")
        }
        Filter::Substrings(s) => {
            if !rules.leading_wildcard && s.initial.is_none() {
                return Some("the release agreement takes no filter items that begin with *");
            }
            let characters =
                |part: &[u8]| std::str::from_utf8(part).map_or(0, |text| text.trim().chars().count());
            let parts = s.initial.iter().chain(&s.any).chain(&s.last);
            let longest = match &s.initial {
                Some(initial) if !rules.leading_wildcard => characters(initial),
                _ => parts.map(|part| characters(part)).max().unwrap_or(0),
            };
            (longest < rules.shortest as usize)
                .then_some("the filter item with * is too short; write more of the value")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(filter: &str, rules: &FilterRules) -> bool {
        fault(&Filter::parse(filter).unwrap(), rules).is_none()
    }

    #[test]
    fn shapes() {
        let strict = FilterRules { shortest: 3, leading_wildcard: false, inequality: false };
        for filter in
            ["(cn=a)", "(cn=*)", "(cn=smi*)", "(&(cn=abc*d)(!(sn=xyz*)))", "(cn=\u{e9}\u{e9}\u{e9}*)"]
        {
            assert!(taken(filter, &strict), "{filter}");
        }
        for filter in
            ["(cn=sm*)", "(cn=*ith)", "(cn=*smith*)", "(uid>=a)", "(!(uid<=a))", "(|(cn=a)(!(cn=a*bcde)))"]
        {
            assert!(!taken(filter, &strict), "{filter}");
            assert!(taken(filter, &FilterRules::default()), "{filter}");
        }
        let short = FilterRules { shortest: 3, ..FilterRules::default() };
        assert!(taken("(cn=*smith*)", &short) && taken("(cn=a*bcd)", &short) && !taken("(cn=*ab*)", &short));
        assert!(!taken("(cn=  a  *)", &short));
    }
}
