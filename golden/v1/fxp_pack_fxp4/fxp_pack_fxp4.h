/* Constants of the vector case fxp_pack_fxp4; hex file names are relative to its folder. */
#ifndef BITROW_FXP_PACK_FXP4_H
#define BITROW_FXP_PACK_FXP4_H
#define FXP_PACK_FXP4_SCHEMA 1u
#define FXP_PACK_FXP4_SPEC_VERSION 1u
#define FXP_PACK_FXP4_CASE_NAME "fxp_pack_fxp4"
#define FXP_PACK_FXP4_OPERATION "fxp.pack"
#define FXP_PACK_FXP4_CONFIG_BITS 4u
#define FXP_PACK_FXP4_CONFIG_SIGNED 1u
#define FXP_PACK_FXP4_CONFIG_NARROW 0u
#define FXP_PACK_FXP4_CODE_BITS 4u
#define FXP_PACK_FXP4_CODE_DEPTH 45u
#define FXP_PACK_FXP4_CODE_DIM_N 1u
#define FXP_PACK_FXP4_CODE_DIM_H 3u
#define FXP_PACK_FXP4_CODE_DIM_W 5u
#define FXP_PACK_FXP4_CODE_DIM_C 3u
#define FXP_PACK_FXP4_CODE_HEX "code.hex"
#define FXP_PACK_FXP4_PACKED_BITS 8u
#define FXP_PACK_FXP4_PACKED_DEPTH 24u
#define FXP_PACK_FXP4_PACKED_DIM_N 1u
#define FXP_PACK_FXP4_PACKED_DIM_H 3u
#define FXP_PACK_FXP4_PACKED_DIM_BYTE 8u
#define FXP_PACK_FXP4_PACKED_HEX "packed.hex"
#endif
