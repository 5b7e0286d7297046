//! How objects and their bodies look in the OpenAPI document: `Team`, `NewTeam`, `TeamContent`.
//!
//! Written by hand because a derived name of a generic type would be `Object_TeamSpec`.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, Ref, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, ObjectBuilder, Type},
    },
};

use super::{Content, Draft, Kind, Labels, Object};

type Schemas = Vec<(String, RefOr<Schema>)>;

impl<K: Kind> ToSchema for Object<K> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(K::TITLE)
    }

    fn schemas(schemas: &mut Schemas) {
        part::<K>(schemas);
        part::<K::Status>(schemas);
    }
}

impl<K: Kind> PartialSchema for Object<K> {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let time = || text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let whole =
            ObjectBuilder::new().schema_type(Type::Integer).description(Some("1 at first, one more with each change"));
        let mut object = ObjectBuilder::new();
        let properties: [(&str, RefOr<Schema>); 10] = [
            ("id", text().description(Some("Its id, with the prefix of its kind")).into()),
            ("name", text().description(Some("Its name, fixed for life")).into()),
            ("labels", Labels::schema()),
            ("spec", Ref::from_schema_name(K::name()).into()),
            ("status", Ref::from_schema_name(K::Status::name()).into()),
            ("created_at", time().into()),
            ("updated_at", time().into()),
            ("created_by", text().description(Some("Who created it")).into()),
            ("revision", whole.into()),
            ("etag", text().description(Some("For `If-Match`")).into()),
        ];
        for (name, schema) in properties {
            object = object.property(name, schema).required(name);
        }
        object.into()
    }
}

impl<K: Kind> ToSchema for Draft<K> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("New{}", K::TITLE))
    }

    fn schemas(schemas: &mut Schemas) {
        part::<K>(schemas);
    }
}

impl<K: Kind> PartialSchema for Draft<K> {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"))
            .description(Some("An RFC 1123 label, unique among the tenant's objects of the kind"));
        closed()
            .property("name", name)
            .required("name")
            .property("labels", Labels::schema())
            .property("spec", Ref::from_schema_name(K::name()))
            .required("spec")
            .into()
    }
}

impl<K: Kind> ToSchema for Content<K> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}Content", K::TITLE))
    }

    fn schemas(schemas: &mut Schemas) {
        part::<K>(schemas);
    }
}

impl<K: Kind> PartialSchema for Content<K> {
    fn schema() -> RefOr<Schema> {
        closed()
            .property("labels", Labels::schema())
            .property("spec", Ref::from_schema_name(K::name()))
            .required("spec")
            .into()
    }
}

/// An object that takes no other fields.
fn closed() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn part<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
