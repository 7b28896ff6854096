//! The types of the parts of a handshake and of a list, by MCP's schema (2024-11-05 to 2025-11-25), as far as clients check them.
//!
//! A member that has no line here may be anything: the schema lets servers add members of their own.

use super::lists::ListKind;

/// What a JSON value has to be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A date with time and offset (ISO 8601).
    Date,
    /// `true` or `false`.
    Flag,
    /// A number.
    Number,
    /// A number from 0 to 1.
    Share,
    /// A list of these.
    List(&'static Shape),
    /// An object.
    Object(&'static Object),
    /// An object, or `true` or `false`.
    ObjectOrFlag(&'static Object),
    /// Anything; a value of this shape is looked into.
    Perhaps(&'static Shape),
}

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    /// The members that are known.
    pub(crate) fields: &'static [Field],
    /// Another object whose members are known here as well.
    pub(crate) base: Option<&'static Object>,
    /// What all other members are.
    pub(crate) rest: (Shape, Need),
    /// What takes the place of a value that is no object; if `None`, such a value can't be mended.
    pub(crate) empty: Option<&'static str>,
}

impl Object {
    /// The shape of a member, and what becomes of the object without it.
    pub(crate) fn member(&'static self, name: &str) -> (&'static Shape, Need) {
        let base = self.base.map_or(&[][..], |base| base.fields);
        let field = self.fields.iter().chain(base).find(|field| field.name == name);
        field.map_or((&self.rest.0, self.rest.1), |field| (&field.shape, field.need))
    }
}

/// A member of an object.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) need: Need,
}

/// What becomes of an object of which a member is missing or of the wrong type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A wrong member is left out, and so is `null`, by which many languages say that there is nothing.
    Optional,
    /// The whole object can't be mended.
    Required,
    /// This JSON takes the place.
    Default(&'static str),
    /// The value of another member, which is required, takes the place.
    Same(&'static str),
}

const fn object(fields: &'static [Field]) -> Object {
    Object { fields, base: None, rest: (Shape::Any, Need::Optional), empty: Some("{}") }
}

const fn map(shape: Shape, need: Need) -> Object {
    Object { fields: &[], base: None, rest: (shape, need), empty: Some("{}") }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, need: Need::Optional }
}

const fn required(name: &'static str) -> Field {
    Field { name, shape: Shape::Text, need: Need::Required }
}

const fn named(name: &'static str) -> Field {
    Field { name, shape: Shape::Text, need: Need::Default("\"?\"") }
}

/// Any object.
pub(crate) static ANY: Object = object(&[]);
static OBJECTS: Object = map(Shape::Object(&ANY), Need::Optional);

const TITLE: Field = optional("title", Shape::Text);
const DESCRIPTION: Field = optional("description", Shape::Text);
const MIME_TYPE: Field = optional("mimeType", Shape::Text);
const META: Field = optional("_meta", Shape::Object(&ANY));
const ICONS: Field = optional("icons", Shape::List(&AN_ICON));

static AN_ICON: Shape = Shape::Object(&ICON);

static ICON: Object = Object {
    empty: None,
    ..object(&[
        required("src"),
        MIME_TYPE,
        optional("sizes", Shape::List(&Shape::Text)),
        optional("theme", Shape::OneOf(&["light", "dark"])),
    ])
};

/// An `initialize` result. Of a server that doesn't name its version of MCP the oldest is assumed, which every endpoint
/// understands.
pub(crate) static WELCOME: Shape = Shape::Object(&Object {
    empty: Some(r#"{"protocolVersion":"2024-11-05","capabilities":{},"serverInfo":{"name":"?","version":"?"}}"#),
    ..object(&[
        Field { name: "protocolVersion", shape: Shape::Text, need: Need::Default("\"2024-11-05\"") },
        Field { name: "capabilities", shape: Shape::Object(&CAPABILITIES), need: Need::Default("{}") },
        Field { name: "serverInfo", shape: Shape::Object(&IMPLEMENTATION), need: Need::Default(UNNAMED) },
        optional("instructions", Shape::Text),
        META,
    ])
});

const UNNAMED: &str = r#"{"name":"?","version":"?"}"#;

static IMPLEMENTATION: Object = Object {
    empty: Some(UNNAMED),
    ..object(&[named("name"), named("version"), TITLE, DESCRIPTION, optional("websiteUrl", Shape::Text), ICONS])
};

static CAPABILITIES: Object = Object {
    // `logging`, `completions`, and capabilities of later versions.
    rest: (Shape::Object(&ANY), Need::Optional),
    ..object(&[
        optional("tools", Shape::Object(&LISTED)),
        optional("prompts", Shape::Object(&LISTED)),
        optional("resources", Shape::Object(&LISTED)),
        optional("tasks", Shape::Object(&TASKS)),
        optional("experimental", Shape::Object(&OBJECTS)),
        optional("extensions", Shape::Object(&OBJECTS)),
    ])
};

static LISTED: Object = object(&[optional("listChanged", Shape::Flag), optional("subscribe", Shape::Flag)]);

static TASKS: Object = object(&[
    optional("list", Shape::Object(&ANY)),
    optional("cancel", Shape::Object(&ANY)),
    optional("requests", Shape::Object(&map(Shape::Object(&OBJECTS), Need::Optional))),
]);

/// An item of a list.
pub(crate) fn item(kind: ListKind) -> &'static Shape {
    match kind {
        ListKind::Tools => &TOOL,
        ListKind::Prompts => &PROMPT,
        ListKind::Resources => &RESOURCE,
        ListKind::Templates => &TEMPLATE,
    }
}

static TOOL: Shape = Shape::Object(&Object {
    empty: None,
    ..object(&[
        required("name"),
        TITLE,
        DESCRIPTION,
        Field { name: "inputSchema", shape: Shape::Object(&STRUCTURE), need: Need::Default(NO_STRUCTURE) },
        optional("outputSchema", Shape::Object(&STRUCTURE)),
        optional("annotations", Shape::Object(&HINTS)),
        optional("execution", Shape::Object(&EXECUTION)),
        ICONS,
        META,
    ])
});

pub(crate) static HINTS: Object = object(&[
    TITLE,
    optional("readOnlyHint", Shape::Flag),
    optional("destructiveHint", Shape::Flag),
    optional("idempotentHint", Shape::Flag),
    optional("openWorldHint", Shape::Flag),
]);

static EXECUTION: Object = object(&[optional("taskSupport", Shape::OneOf(&["required", "optional", "forbidden"]))]);

static PROMPT: Shape = Shape::Object(&Object {
    empty: None,
    ..object(&[
        required("name"),
        TITLE,
        DESCRIPTION,
        optional("arguments", Shape::List(&Shape::Object(&ARGUMENT))),
        ICONS,
        META,
    ])
});

static ARGUMENT: Object =
    Object { empty: None, ..object(&[required("name"), TITLE, DESCRIPTION, optional("required", Shape::Flag)]) };

static RESOURCE: Shape = Shape::Object(&Object {
    empty: None,
    ..object(&[
        required("uri"),
        Field { name: "name", shape: Shape::Text, need: Need::Same("uri") },
        TITLE,
        DESCRIPTION,
        MIME_TYPE,
        optional("size", Shape::Number),
        optional("annotations", Shape::Object(&AUDIENCE)),
        ICONS,
        META,
    ])
});

static TEMPLATE: Shape = Shape::Object(&Object {
    empty: None,
    ..object(&[
        required("uriTemplate"),
        Field { name: "name", shape: Shape::Text, need: Need::Same("uriTemplate") },
        TITLE,
        DESCRIPTION,
        MIME_TYPE,
        optional("annotations", Shape::Object(&AUDIENCE)),
        ICONS,
        META,
    ])
});

static AUDIENCE: Object = object(&[
    optional("audience", Shape::List(&Shape::OneOf(&["user", "assistant"]))),
    optional("priority", Shape::Share),
    optional("lastModified", Shape::Date),
]);

/// The JSON schema of arguments or of structured content. MCP requires its type, and objects as properties.
static STRUCTURE: Object = Object {
    base: Some(&SCHEMA),
    empty: Some(NO_STRUCTURE),
    ..object(&[
        Field { name: "type", shape: Shape::OneOf(&["object"]), need: Need::Default("\"object\"") },
        optional("properties", Shape::Object(&map(Shape::Object(&SCHEMA), Need::Default("{}")))),
        optional("required", Shape::List(&Shape::Text)),
    ])
};

const NO_STRUCTURE: &str = r#"{"type":"object"}"#;

/// A JSON schema within another. Clients look no deeper than MCP's own schema, but programs that put a tool before a model do.
static SCHEMA: Object = object(&[
    optional("properties", Shape::Object(&SCHEMAS)),
    optional("patternProperties", Shape::Object(&SCHEMAS)),
    optional("$defs", Shape::Object(&SCHEMAS)),
    optional("definitions", Shape::Object(&SCHEMAS)),
    optional("dependentSchemas", Shape::Object(&SCHEMAS)),
    optional("items", Shape::Perhaps(&A_SCHEMA)),
    optional("additionalProperties", Shape::Perhaps(&A_SCHEMA)),
    optional("not", Shape::Perhaps(&A_SCHEMA)),
    optional("anyOf", Shape::Perhaps(&A_LIST)),
    optional("allOf", Shape::Perhaps(&A_LIST)),
    optional("oneOf", Shape::Perhaps(&A_LIST)),
    optional("prefixItems", Shape::Perhaps(&A_LIST)),
]);

static SCHEMAS: Object = map(Shape::ObjectOrFlag(&SCHEMA), Need::Default("{}"));
static A_SCHEMA: Shape = Shape::Object(&SCHEMA);
static A_LIST: Shape = Shape::List(&PERHAPS_A_SCHEMA);
static PERHAPS_A_SCHEMA: Shape = Shape::Perhaps(&A_SCHEMA);
