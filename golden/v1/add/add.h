/* Constants of the vector case add; hex file names are relative to its folder. */
#ifndef BITROW_ADD_H
#define BITROW_ADD_H
#define ADD_SCHEMA 1u
#define ADD_SPEC_VERSION 1u
#define ADD_CASE_NAME "add"
#define ADD_OPERATION "add.forward"
enum add_config_mode_rounding {
    ADD_CONFIG_MODE_ROUNDING_NEAREST_EVEN = 0,
    ADD_CONFIG_MODE_ROUNDING_TOWARD_ZERO = 1,
    ADD_CONFIG_MODE_ROUNDING_UP = 2,
    ADD_CONFIG_MODE_ROUNDING_DOWN = 3,
    ADD_CONFIG_MODE_ROUNDING_NEAREST_AWAY = 4
};
#define ADD_CONFIG_MODE_ROUNDING ADD_CONFIG_MODE_ROUNDING_NEAREST_EVEN
enum add_config_mode_overflow {
    ADD_CONFIG_MODE_OVERFLOW_INFINITY = 0,
    ADD_CONFIG_MODE_OVERFLOW_SATURATE = 1
};
#define ADD_CONFIG_MODE_OVERFLOW ADD_CONFIG_MODE_OVERFLOW_INFINITY
#define ADD_CONFIG_MODE_FLUSH 0u
#define ADD_X_BITS 16u
#define ADD_X_DEPTH 96u
#define ADD_X_DIM_N 1u
#define ADD_X_DIM_H 4u
#define ADD_X_DIM_W 4u
#define ADD_X_DIM_C 6u
#define ADD_X_HEX "x.hex"
#define ADD_SHORTCUT_BITS 16u
#define ADD_SHORTCUT_DEPTH 96u
#define ADD_SHORTCUT_DIM_N 1u
#define ADD_SHORTCUT_DIM_H 4u
#define ADD_SHORTCUT_DIM_W 4u
#define ADD_SHORTCUT_DIM_C 6u
#define ADD_SHORTCUT_HEX "shortcut.hex"
#define ADD_Y_BITS 16u
#define ADD_Y_DEPTH 96u
#define ADD_Y_DIM_N 1u
#define ADD_Y_DIM_H 4u
#define ADD_Y_DIM_W 4u
#define ADD_Y_DIM_C 6u
#define ADD_Y_HEX "y.hex"
#endif
