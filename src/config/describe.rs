//! Every setting that has a default: what it means, in which unit, and what it may be.
//!
//! Nothing is written down twice: the meaning is the doc of the field, the default is that of the type, and the bounds are those
//! that the file is held against.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use crate::ambient::bounds::{Checked, Limit};
use crate::config::settings::{Intervals, Log};
use crate::{ambient, assess, directory, proxy, store, sync};

/// How a word of a key tells its unit.
const UNITS: &[(&str, &str)] = &[
    ("microseconds", "microseconds"),
    ("milliseconds", "milliseconds"),
    ("ms", "milliseconds"),
    ("seconds", "seconds"),
    ("days", "days"),
    ("bytes", "bytes"),
    ("mib", "MiB"),
];

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// As in `front.walks`.
    pub key: String,
    pub default: Value,
    /// None for what is counted, said or switched.
    pub unit: Option<&'static str>,
    /// For numbers: the least and the most that it may be.
    pub least: Option<u64>,
    pub most: Option<u64>,
    /// The words that it may be, when it is one of some.
    pub words: Vec<String>,
    pub meaning: String,
}

impl Setting {
    /// The first sentence of the meaning, and the one that says what 0 means.
    pub fn brief(&self) -> String {
        let sentences: Vec<&str> = self.meaning.split(". ").map(|part| part.trim_end_matches('.')).collect();
        let told = |(number, part): &(usize, &&str)| *number == 0 || part.starts_with("0: ");
        let told: Vec<&str> = sentences.iter().enumerate().filter(told).map(|(_, part)| *part).collect();
        told.join(". ")
    }
}

/// All of them, section by section.
pub fn settings() -> Vec<Setting> {
    let mut all = Vec::new();
    describe::<proxy::settings::Settings>("front", &mut all);
    describe::<Intervals>("intervals", &mut all);
    describe::<store::settings::Settings>("store", &mut all);
    describe::<assess::settings::Settings>("assess", &mut all);
    describe::<sync::terms::settings::Settings>("sync", &mut all);
    describe::<sync::watching::observing::Settings>("observer", &mut all);
    describe::<directory::discovery::Settings>("discovery", &mut all);
    describe::<ambient::sheet::Settings>("tables", &mut all);
    describe::<Log>("log", &mut all);
    all
}

fn describe<T: Default + Serialize + JsonSchema + Checked>(section: &str, all: &mut Vec<Setting>) {
    let schema = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let schema = schema.into_generator().into_root_schema_for::<T>().to_value();
    let default = T::default();
    let (values, bounds) = (serde_json::to_value(&default).unwrap_or_default(), default.bounds());
    fields(section, "", &schema, &values, bounds.limits(), all);
}

/// The settings of one section, and those of the sections in it. `below` is the way to it from the module's own settings.
fn fields(
    section: &str,
    below: &str,
    schema: &Value,
    values: &Value,
    limits: &[Limit],
    all: &mut Vec<Setting>,
) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        let (key, value) = (format!("{below}{name}"), values.get(name).unwrap_or(&Value::Null));
        if property.get("properties").is_some() {
            fields(section, &format!("{key}."), property, value, limits, all);
            continue;
        }
        let limit = limits.iter().find(|limit| limit.key == key);
        let text = property.get("description").and_then(Value::as_str).unwrap_or_default();
        all.push(Setting {
            key: format!("{section}.{key}"),
            default: value.clone(),
            unit: UNITS
                .iter()
                .find(|(word, _)| name.split('_').any(|part| part == *word))
                .map(|(_, unit)| *unit),
            least: limit.map(|limit| limit.least),
            most: limit.map(|limit| limit.most),
            words: words(property),
            meaning: text.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }
}

fn words(property: &Value) -> Vec<String> {
    let words = property.get("enum").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    /// The keys that `T` refuses when the setting is `value`; `None` when it cannot even hold it.
    fn refused<T: DeserializeOwned + Checked>(key: &str, value: u64) -> Option<Vec<String>> {
        let mut tree = serde_json::json!(value);
        for part in key.rsplit('.') {
            tree = serde_json::json!({ part: tree });
        }
        let settings = serde_json::from_value::<T>(tree).ok()?;
        Some(settings.faults().into_iter().map(|fault| fault.key).collect())
    }

    fn every_number_has_its_bounds<T: Default + Serialize + JsonSchema + DeserializeOwned + Checked>() {
        let mut all = Vec::new();
        describe::<T>("x", &mut all);
        assert!(!all.is_empty());
        for setting in all {
            let key = setting.key.trim_start_matches("x.");
            assert!(setting.brief().len() > 10, "{key} has no doc");
            if !setting.default.is_number() {
                continue;
            }
            let is_refused =
                |value| refused::<T>(key, value).is_some_and(|keys| keys.iter().any(|k| k == key));
            // the largest that the program can hold makes no sense anywhere but for a port
            let largest = [u64::MAX, u64::from(u32::MAX), u64::from(u16::MAX)];
            let largest = largest.into_iter().find(|value| refused::<T>(key, *value).is_some()).unwrap();
            assert!(is_refused(largest) || largest == u64::from(u16::MAX), "{key} may be {largest}");
            let means_something = setting.meaning.contains("0: ");
            assert_eq!(is_refused(0), !means_something, "{key}: 0 is refused or its doc says `0: ...`");
            let (least, most) = (setting.least.expect(key), setting.most.expect(key));
            assert!(is_refused(most + 1) || most == u64::from(u16::MAX), "{key} may be more than {most}");
            assert!(least == 0 || is_refused(least - 1), "{key} may be less than {least}");
            let default = setting.default.as_u64().unwrap();
            assert!((least..=most).contains(&default), "{key} is {default} by default");
        }
        assert_eq!(T::default().faults(), []);
    }

    #[test]
    fn every_setting_is_documented_and_every_number_has_its_bounds() {
        every_number_has_its_bounds::<proxy::settings::Settings>();
        every_number_has_its_bounds::<Intervals>();
        every_number_has_its_bounds::<store::settings::Settings>();
        every_number_has_its_bounds::<assess::settings::Settings>();
        every_number_has_its_bounds::<sync::terms::settings::Settings>();
        every_number_has_its_bounds::<sync::watching::observing::Settings>();
        every_number_has_its_bounds::<directory::discovery::Settings>();
        every_number_has_its_bounds::<ambient::sheet::Settings>();
        every_number_has_its_bounds::<Log>();
    }
}
