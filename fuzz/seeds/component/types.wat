(component
  (type $f (record (field "code" string) (field "retry" (option u64))))
  (type $v (variant (case "a" u32) (case "b") (case "c" (list (tuple s8 f64 char)))))
  (type $r (resource (rep i32)))
  (type $i (instance (export "t" (type (sub resource))) (export "f" (func (result (result u8 (error string)))))))
  (import "wasi:io/poll@0.2.0" (instance (type $i)))
  (core type $m (module (import "a" "b" (func (param i64 f32))) (export "c" (memory 1 2))))
  (component $inner (core module (func (param v128) (result v128) local.get 0) (memory 1) (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2)))))
  (instance (instantiate $inner)))
