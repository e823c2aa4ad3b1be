/* Constants of the vector case fxp_pack_fxp3; hex file names are relative to its folder. */
#ifndef BITROW_FXP_PACK_FXP3_H
#define BITROW_FXP_PACK_FXP3_H
#define FXP_PACK_FXP3_SCHEMA 1u
#define FXP_PACK_FXP3_SPEC_VERSION 1u
#define FXP_PACK_FXP3_CASE_NAME "fxp_pack_fxp3"
#define FXP_PACK_FXP3_OPERATION "fxp.pack"
#define FXP_PACK_FXP3_CONFIG_BITS 3u
#define FXP_PACK_FXP3_CONFIG_SIGNED 1u
#define FXP_PACK_FXP3_CONFIG_NARROW 0u
#define FXP_PACK_FXP3_CODE_BITS 3u
#define FXP_PACK_FXP3_CODE_DEPTH 18u
#define FXP_PACK_FXP3_CODE_DIM_N 1u
#define FXP_PACK_FXP3_CODE_DIM_H 2u
#define FXP_PACK_FXP3_CODE_DIM_W 3u
#define FXP_PACK_FXP3_CODE_DIM_C 3u
#define FXP_PACK_FXP3_CODE_HEX "code.hex"
#define FXP_PACK_FXP3_PACKED_BITS 8u
#define FXP_PACK_FXP3_PACKED_DEPTH 10u
#define FXP_PACK_FXP3_PACKED_DIM_N 1u
#define FXP_PACK_FXP3_PACKED_DIM_H 2u
#define FXP_PACK_FXP3_PACKED_DIM_BYTE 5u
#define FXP_PACK_FXP3_PACKED_HEX "packed.hex"
#endif
