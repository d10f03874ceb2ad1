//! JavaScript objects whose properties are made when they are asked for.
//!
//! What the host gives to scripts has many properties, of which they read few. A [`Record`] knows
//! their names and makes a value when one is read. To a script it is an object like others: it lists
//! its properties, and what is written to one, or deleted, is as with any other.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use rquickjs::{Ctx, Exception, Object, Value, qjs};

/// What stands behind such an object. It holds no JavaScript values.
pub(in super::super) trait Record: 'static {
    /// What the engine calls objects of this kind.
    const CLASS: &'static CStr;
    /// The properties, in the order in which they are listed; at most 32.
    const NAMES: &'static [&'static str];

    /// Makes the value of the property at this index of `NAMES`, for the object that this stands behind.
    ///
    /// # Errors
    ///
    /// What was thrown.
    fn make<'js>(
        &self,
        ctx: &Ctx<'js>,
        object: &Object<'js>,
        index: usize,
    ) -> rquickjs::Result<Value<'js>>;

    /// True if a property must be made once only: it is an object, which stays the same, or is long.
    fn is_made_once(index: usize) -> bool;
}

/// The objects of one kind in a runtime.
pub(in super::super) struct RecordClass<R> {
    id: qjs::JSClassID,
    /// The names, as the runtime knows them. They are kept to its end.
    names: Rc<[qjs::JSAtom]>,
    records: PhantomData<fn(R)>,
}

/// What an object points to.
struct Behind<R> {
    record: R,
    names: Rc<[qjs::JSAtom]>,
    /// A bit for each property that is still the record's: neither written nor deleted.
    own: Cell<u32>,
    /// Values that were made once, by index.
    made: RefCell<Vec<(usize, qjs::JSValue)>>,
}

// === impl RecordClass ===

impl<R: Record> RecordClass<R> {
    const METHODS: qjs::JSClassExoticMethods = qjs::JSClassExoticMethods {
        get_own_property: Some(get_own_property::<R>),
        get_own_property_names: Some(get_own_property_names::<R>),
        delete_property: Some(delete_property::<R>),
        define_own_property: Some(define_own_property::<R>),
        has_property: None,
        get_property: None,
        set_property: None,
    };

    /// Makes the class in a context's runtime.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub(in super::super) fn new(ctx: &Ctx<'_>) -> rquickjs::Result<Self> {
        const { assert!(R::NAMES.len() <= 32, "there is a bit for each") };
        let raw = ctx.as_raw().as_ptr();
        let methods: &'static qjs::JSClassExoticMethods = const { &Self::METHODS };
        let definition = qjs::JSClassDef {
            class_name: R::CLASS.as_ptr(),
            finalizer: Some(finalize::<R>),
            gc_mark: Some(mark::<R>),
            call: None,
            // QuickJS only reads it.
            exotic: ptr::from_ref(methods).cast_mut(),
        };
        let mut id = 0;
        // SAFETY: the context is alive. The methods live for ever, and all of them take what is behind
        // an object of this class for a `Behind<R>`, which `object` alone puts there.
        let made = unsafe {
            let runtime = qjs::JS_GetRuntime(raw);
            qjs::JS_NewClassID(runtime, &raw mut id);
            qjs::JS_NewClass(runtime, id, &raw const definition)
        };
        if made != 0 {
            return Err(rquickjs::Error::Allocation);
        }
        let names = R::NAMES.iter().map(|name| {
            // SAFETY: the text is as long as it says. The atom is never freed: the runtime does it at
            // its end.
            unsafe { qjs::JS_NewAtomLen(raw, name.as_ptr().cast::<c_char>(), name.len() as _) }
        });
        Ok(Self {
            id,
            names: names.collect(),
            records: PhantomData,
        })
    }

    /// Sets the prototype that objects of this kind have in a context.
    pub(in super::super) fn set_prototype(&self, prototype: &Object<'_>) {
        let ctx = prototype.ctx().as_raw().as_ptr();
        // SAFETY: both are alive, and the call takes the value that is duplicated for it.
        unsafe {
            let prototype = qjs::JS_DupValue(ctx, prototype.as_raw());
            qjs::JS_SetClassProto(ctx, self.id, prototype);
        }
    }

    /// An object with this record behind it.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub(in super::super) fn object<'js>(
        &self,
        ctx: &Ctx<'js>,
        record: R,
    ) -> rquickjs::Result<Object<'js>> {
        let behind = Box::new(Behind {
            record,
            names: Rc::clone(&self.names),
            own: Cell::new(u32::MAX),
            made: RefCell::default(),
        });
        // SAFETY: the context is alive, and the class is one of its runtime's. What is put behind the
        // object is what the class's methods expect; `finalize` drops it.
        unsafe {
            let object = qjs::JS_NewObjectClass(ctx.as_raw().as_ptr(), self.id);
            if qjs::JS_IsException(object) {
                return Err(rquickjs::Error::Exception);
            }
            qjs::JS_SetOpaque(object, Box::into_raw(behind).cast());
            let object = Value::from_raw(ctx.clone(), object);
            object.into_object().ok_or(rquickjs::Error::Unknown)
        }
    }
}

// === impl Behind ===

impl<R: Record> Behind<R> {
    /// What is behind an object, while somebody holds that.
    ///
    /// # Safety
    ///
    /// The object is of the class of `R`, and lives as long as the reference.
    unsafe fn of<'object>(object: qjs::JSValue) -> Option<&'object Self> {
        let mut id = 0;
        // SAFETY: an object's pointer is null, or the one that `RecordClass::object` set.
        unsafe {
            qjs::JS_GetAnyOpaque(object, &raw mut id)
                .cast::<Self>()
                .as_ref()
        }
    }

    /// The index of a property that is still the record's.
    fn index(&self, name: qjs::JSAtom) -> Option<usize> {
        let index = self.names.iter().position(|known| *known == name)?;
        self.is_own(index).then_some(index)
    }

    fn is_own(&self, index: usize) -> bool {
        self.own.get() & (1 << index) != 0
    }

    fn give_up(&self, index: usize) {
        self.own.set(self.own.get() & !(1 << index));
    }

    fn made_before(&self, index: usize) -> Option<qjs::JSValue> {
        let made = self.made.borrow();
        let known = made.iter().find(|(known, _)| *known == index);
        known.map(|(_, value)| *value)
    }

    /// The value of a property of the object that this is behind; what was thrown is left with the
    /// context. The caller owns it.
    ///
    /// # Safety
    ///
    /// The context is alive, and so is the object.
    unsafe fn value(
        &self,
        ctx: *mut qjs::JSContext,
        object: qjs::JSValue,
        index: usize,
    ) -> Result<qjs::JSValue, ()> {
        if let Some(value) = self.made_before(index) {
            // SAFETY: the value is one that this holds.
            return Ok(unsafe { qjs::JS_DupValue(ctx, value) });
        }
        let Some(ctx) = NonNull::new(ctx) else {
            return Err(());
        };
        // SAFETY: the caller's promise. The object is held once more by what is made of it.
        let (owned, object) = unsafe {
            let owned = Ctx::from_raw(ctx);
            let object = qjs::JS_DupValue(ctx.as_ptr(), object);
            (owned.clone(), Value::from_raw(owned, object))
        };
        let Some(object) = object.as_object() else {
            return Err(());
        };
        match self.record.make(&owned, object, index) {
            Ok(value) => {
                // SAFETY: the value is held by what was just made, until after both duplicates.
                unsafe {
                    if R::is_made_once(index) && self.made_before(index).is_none() {
                        let kept = qjs::JS_DupValue(ctx.as_ptr(), value.as_raw());
                        self.made.borrow_mut().push((index, kept));
                    }
                    Ok(qjs::JS_DupValue(ctx.as_ptr(), value.as_raw()))
                }
            }
            Err(error) => {
                if !error.is_exception() {
                    Exception::throw_message(&owned, &error.to_string());
                }
                Err(())
            }
        }
    }
}

/// What may be done to a property: anything.
const PLAIN: c_int =
    (qjs::JS_PROP_CONFIGURABLE | qjs::JS_PROP_WRITABLE | qjs::JS_PROP_ENUMERABLE) as c_int;

// What QuickJS calls. For all of them: the context or runtime is alive, the object is of the class of
// `R`, and the caller holds it until the call returns, but for `finalize`, which is the last call.

unsafe extern "C" fn finalize<R: Record>(runtime: *mut qjs::JSRuntime, object: qjs::JSValue) {
    let mut id = 0;
    // SAFETY: see above. The pointer is the one that `RecordClass::object` took from a box, and nobody
    // uses it after this.
    unsafe {
        let behind = qjs::JS_GetAnyOpaque(object, &raw mut id).cast::<Behind<R>>();
        if !behind.is_null() {
            for (_, value) in Box::from_raw(behind).made.take() {
                qjs::JS_FreeValueRT(runtime, value);
            }
        }
    }
}

unsafe extern "C" fn mark<R: Record>(
    runtime: *mut qjs::JSRuntime,
    object: qjs::JSValue,
    mark: qjs::JS_MarkFunc,
) {
    // SAFETY: see above. Marking calls nothing of ours, so nobody changes the list meanwhile.
    unsafe {
        if let Some(behind) = Behind::<R>::of(object) {
            for (_, value) in behind.made.borrow().iter() {
                qjs::JS_MarkValue(runtime, *value, mark);
            }
        }
    }
}

unsafe extern "C" fn get_own_property<R: Record>(
    ctx: *mut qjs::JSContext,
    descriptor: *mut qjs::JSPropertyDescriptor,
    object: qjs::JSValue,
    name: qjs::JSAtom,
) -> c_int {
    // SAFETY: see above.
    let found =
        unsafe { Behind::<R>::of(object) }.and_then(|behind| Some((behind, behind.index(name)?)));
    let Some((behind, index)) = found else {
        return 0;
    };
    if descriptor.is_null() {
        return 1;
    }
    // SAFETY: see above; a descriptor that is there may be written, and owns what is written to it.
    unsafe {
        let Ok(value) = behind.value(ctx, object, index) else {
            return -1;
        };
        descriptor.write(qjs::JSPropertyDescriptor {
            flags: PLAIN,
            value,
            getter: qjs::JS_UNDEFINED,
            setter: qjs::JS_UNDEFINED,
        });
    }
    1
}

unsafe extern "C" fn get_own_property_names<R: Record>(
    ctx: *mut qjs::JSContext,
    list: *mut *mut qjs::JSPropertyEnum,
    length: *mut u32,
    object: qjs::JSValue,
) -> c_int {
    // SAFETY: see above.
    let Some(behind) = (unsafe { Behind::<R>::of(object) }) else {
        return -1;
    };
    // SAFETY: see above. The list has room for all names, of which as many are written as are told;
    // QuickJS frees it, and one duplicate of each name.
    unsafe {
        let size = size_of::<qjs::JSPropertyEnum>() * behind.names.len().max(1);
        let names = qjs::js_malloc(ctx, size as _).cast::<qjs::JSPropertyEnum>();
        if names.is_null() {
            return -1;
        }
        let mut written = 0;
        for (index, name) in behind.names.iter().enumerate() {
            if behind.is_own(index) {
                names.add(written).write(qjs::JSPropertyEnum {
                    is_enumerable: true,
                    atom: qjs::JS_DupAtom(ctx, *name),
                });
                written += 1;
            }
        }
        list.write(names);
        length.write(u32::try_from(written).unwrap_or(0));
    }
    0
}

unsafe extern "C" fn delete_property<R: Record>(
    _: *mut qjs::JSContext,
    object: qjs::JSValue,
    name: qjs::JSAtom,
) -> c_int {
    // SAFETY: see above.
    if let Some(behind) = unsafe { Behind::<R>::of(object) }
        && let Some(index) = behind.index(name)
    {
        behind.give_up(index);
    }
    1
}

unsafe extern "C" fn define_own_property<R: Record>(
    ctx: *mut qjs::JSContext,
    object: qjs::JSValue,
    name: qjs::JSAtom,
    value: qjs::JSValue,
    getter: qjs::JSValue,
    setter: qjs::JSValue,
    flags: c_int,
) -> c_int {
    const AS_ANY: c_int = qjs::JS_PROP_NO_EXOTIC as c_int;
    // SAFETY: see above. From here on the property is one as any other object has it: first with the
    // record's value, of which it gets a duplicate, then as it is to be.
    unsafe {
        if let Some(behind) = Behind::<R>::of(object)
            && let Some(index) = behind.index(name)
        {
            let Ok(before) = behind.value(ctx, object, index) else {
                return -1;
            };
            behind.give_up(index);
            let none = qjs::JS_UNDEFINED;
            let all = PLAIN | (qjs::JS_PROP_HAS_VALUE as c_int) | AS_ANY;
            let defined = qjs::JS_DefineProperty(ctx, object, name, before, none, none, all);
            qjs::JS_FreeValue(ctx, before);
            if defined < 1 {
                return defined;
            }
        }
        qjs::JS_DefineProperty(ctx, object, name, value, getter, setter, flags | AS_ANY)
    }
}

#[cfg(test)]
mod tests {
    use rquickjs::{Context, IntoJs, Runtime};

    use super::*;

    /// A number, a list, and how often the list was made.
    struct Numbers(Rc<Cell<u32>>);

    impl Record for Numbers {
        const CLASS: &'static CStr = c"Numbers";
        const NAMES: &'static [&'static str] = &["one", "list", "itself"];

        fn make<'js>(
            &self,
            ctx: &Ctx<'js>,
            object: &Object<'js>,
            index: usize,
        ) -> rquickjs::Result<Value<'js>> {
            match index {
                0 => return 1.into_js(ctx),
                2 => return Ok(object.clone().into_value()),
                _ => {}
            }
            self.0.set(self.0.get() + 1);
            vec![1, 2, 3].into_js(ctx)
        }

        fn is_made_once(index: usize) -> bool {
            index == 1
        }
    }

    #[test]
    fn to_a_script_it_is_an_object_like_others() {
        let runtime = Runtime::new().unwrap();
        let context = Context::full(&runtime).unwrap();
        context.with(|ctx| {
            let class = RecordClass::<Numbers>::new(&ctx).unwrap();
            let prototype: Object = ctx.eval("({ two() { return this.one + 1; } })").unwrap();
            class.set_prototype(&prototype);
            // Code, what it gives, and whether it takes the list.
            for (code, result, takes_list) in [
                ("[it.one, it.two(), it.none ?? 0]", "[1,2,0]", false),
                ("Object.keys(it)", r#"["one","list","itself"]"#, true),
                ("it.itself === it", "true", false),
                ("it.list === it.list && it.list.length", "3", true),
                ("it.one = 5; [it.one, it.two()]", "[5,6]", false),
                ("it.one = 5; Object.keys(it).length", "3", true),
                ("it.more = 4; [it.more, 'more' in it]", "[4,true]", false),
                (
                    "delete it.list; [it.list ?? 0, 'list' in it]",
                    "[0,false]",
                    false,
                ),
                ("delete it.itself; it", r#"{"one":1,"list":[1,2,3]}"#, true),
                ("({ ...it, one: 0, itself: 0 })", r#"{"one":0,"list":[1,2,3],"itself":0}"#, true),
                (
                    "delete it.itself; Object.defineProperty(it, 'one', { enumerable: false }); [it.one, it]",
                    r#"[1,{"list":[1,2,3]}]"#,
                    true,
                ),
                ("it.list.push(it); it.list[3] === it", "true", true),
            ] {
                let made = Rc::new(Cell::new(0));
                let object = class.object(&ctx, Numbers(Rc::clone(&made))).unwrap();
                ctx.globals().set("it", object).unwrap();
                let value: Value = ctx.eval(code).unwrap();
                let json = ctx.json_stringify(value).unwrap().unwrap();
                assert_eq!(json.to_string().unwrap(), result, "{code}");
                assert_eq!(made.get(), u32::from(takes_list), "{code}");
            }
        });
        // What holds itself is found and freed: QuickJS ends the program where something is left.
        runtime.run_gc();
    }
}
